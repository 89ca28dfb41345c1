"""Coloured digits: how often shape and colour are right, and that shapes stay those of the digits."""

import numpy as np
import pytest

from workloads.datasets.coloured_digits import coloured, load_coloured_digits
from workloads.datasets.digits import load_digits


def colours(images):
    """Which channel the digit is in; the other one is empty."""
    mass = images.sum(axis=(-3, -2))
    assert np.all(mass.min(axis=-1) == 0)
    return mass.argmax(axis=-1)


def shapes(images):
    """What a perfect reader of shapes says, by looking the images up."""
    train_images, train_digits, test_images, test_digits = load_digits()
    known = {
        image.tobytes(): digit >= 5
        for image, digit in zip(
            np.concatenate([train_images, test_images]),
            np.concatenate([train_digits, test_digits]),
            strict=True,
        )
    }
    grey = images.sum(axis=-1, keepdims=True)
    return np.array([known[image.tobytes()] for image in grey.reshape(-1, 8, 8, 1)]).reshape(grey.shape[:-3])


def test_shape_is_right_in_three_quarters_everywhere_and_colour_as_the_environment_says():
    data = load_coloured_digits()
    assert data.train_images.shape == (2, 718, 8, 8, 2)
    assert data.train_labels.shape == (2, 718)
    assert data.test_images.shape == (360, 8, 8, 2)
    assert data.train_images.dtype == np.float32
    assert data.train_labels.dtype == data.test_labels.dtype == np.int32
    one_image = 1 / 360
    by_shape = [
        *np.mean(shapes(data.train_images) == data.train_labels, axis=1),
        np.mean(shapes(data.test_images) == data.test_labels),
    ]
    assert by_shape == pytest.approx([0.75] * 3, abs=one_image)
    by_colour = [
        *np.mean(colours(data.train_images) == data.train_labels, axis=1),
        np.mean(colours(data.test_images) == data.test_labels),
    ]
    assert by_colour == pytest.approx([0.90, 0.80, 0.10], abs=one_image)


def test_no_image_is_in_two_environments():
    images = load_coloured_digits(train_flips=(0.1, 0.2, 0.3)).train_images.sum(axis=-1)
    assert images.shape == (3, 479, 8, 8)
    originals = load_digits()[0]
    repeated = len(originals) - len(np.unique(originals, axis=0))
    assert len(np.unique(images.reshape(-1, 64), axis=0)) >= 3 * 479 - repeated


def test_a_seed_says_which_labels_are_wrong():
    first, same, other = (load_coloured_digits(seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train_images, same.train_images)
    assert not np.array_equal(first.test_labels, other.test_labels)


def test_wrong_labels_and_flips_do_not_depend_on_one_another():
    random = np.random.default_rng(0)
    images, digits = np.ones((40_000, 1, 1, 1)), random.integers(10, size=40_000)
    tinted, labels = coloured(images, digits, 0.2, random)
    wrong, flipped = labels != (digits >= 5), colours(tinted) != labels
    assert abs(np.mean(flipped[wrong]) - 0.2) < 4 * np.sqrt(0.16 / 10_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_flips": ()}, "train_flips: at least one environment is needed, got none"),
        ({"train_flips": (0.1, 1.5)}, r"flip must be in \[0, 1\], got 1.5"),
        ({"test_flip": -0.1}, r"flip must be in \[0, 1\], got -0.1"),
    ],
)
def test_no_environment_and_shares_that_are_none_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        load_coloured_digits(**options)
