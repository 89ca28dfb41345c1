"""What happens to spoilt images, pixel by pixel, and how much."""

import numpy as np
import pytest

from workloads.datasets.corruptions import CORRUPTIONS, corrupted
from workloads.datasets.digits import load_digits

corruptions = pytest.mark.parametrize("corruption", CORRUPTIONS)


@pytest.fixture(scope="module")
def digits():
    return load_digits()[0][:200]


@corruptions
def test_the_images_stay_images_and_a_seed_says_which(corruption, digits):
    spoilt = corrupted(digits, corruption, 3, seed=5)
    assert spoilt.shape == digits.shape
    assert spoilt.dtype == np.float32
    assert 0 <= spoilt.min() < spoilt.max() <= 1
    np.testing.assert_array_equal(spoilt, corrupted(digits, corruption, 3, seed=5))
    assert (corruption == "blur") == np.array_equal(spoilt, corrupted(digits, corruption, 3, seed=6))


@corruptions
def test_every_severity_moves_the_images_further(corruption, digits):
    distances = [np.mean((corrupted(digits, corruption, severity) - digits) ** 2) for severity in range(1, 6)]
    assert np.all(np.diff([0, *distances]) > 0)


def test_a_turn_is_about_the_centre_and_as_often_left_as_right():
    bar = np.zeros((400, 9, 9, 1), np.float32)
    bar[:, 2:7, 4] = 1
    turned = corrupted(bar, "rotation", 4)[..., 0]  # by 45 degrees: onto one of the diagonals
    falling = turned[:, 3, 3] > 0.5
    assert np.all(falling ^ (turned[:, 3, 5] > 0.5))
    assert np.all(turned[:, 4, 4] > 0.99)
    assert abs(np.sum(falling) - 200) < 4 * 10


def test_blur_spreads_a_point_without_losing_any_of_it():
    point = np.zeros((1, 15, 15, 1), np.float32)
    point[0, 7, 7] = 1
    blurred = corrupted(point, "blur", 4)[0, ..., 0]
    places = np.arange(15) - 7
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert blurred.sum(axis=0) @ places**2 == pytest.approx(1.0, rel=0.01)  # the variance at 1 pixel


def test_noise_has_the_deviation_that_it_should():
    grey = np.full((100, 8, 8, 1), 0.5, np.float32)
    noise = corrupted(grey, "noise", 1) - grey
    assert abs(np.mean(noise)) < 4 * 0.1 / 80
    assert np.std(noise) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(("severity", "side"), [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6)])
def test_a_square_of_the_right_size_is_covered_anywhere(severity, side):
    covered = corrupted(np.ones((300, 8, 8, 1), np.float32), "occlusion", severity)[..., 0] == 0
    assert np.all(covered.sum(axis=(1, 2)) == side**2)
    for axis in (1, 2):
        lines = covered.any(axis=axis)
        assert np.all(lines.sum(axis=1) == side)
        assert set(lines.argmax(axis=1)) == set(range(8 - side + 1))


@pytest.mark.parametrize(
    ("corruption", "severity", "message"),
    [
        ("fog", 1, r"corruption must be one of \['rotation', .*got 'fog'"),
        ("blur", 0, "severity must be from 1 to 5, got 0"),
        ("blur", 6, "severity must be from 1 to 5, got 6"),
    ],
)
def test_others_are_refused(corruption, severity, message, digits):
    with pytest.raises(ValueError, match=message):
        corrupted(digits, corruption, severity)
