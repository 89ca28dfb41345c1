"""The trust region's box on scores made by hand, and what the search finds."""

import jax
import numpy as np
import pytest

from schedules.search.trust_region import (
    GROWTH,
    LENGTH,
    LONGEST,
    PATIENCE,
    SHORTEST,
    Region,
    region_of,
    trust_region_search,
)

DESIGN = [5.0, 4.0]
WAIT = [4.0] * PATIENCE
GROWN = min(GROWTH * LENGTH, LONGEST)
HALVINGS = int(np.ceil(np.log2(LENGTH / SHORTEST)))  # until the box is tiny
ANEW = 2 + HALVINGS * PATIENCE


@pytest.mark.parametrize(
    ("scores", "start", "length"),
    [
        ([], 0, LENGTH),
        (DESIGN, 0, LENGTH),  # a design does not change the box
        ([*DESIGN, 3.0], 0, GROWN),
        ([*DESIGN, *[0.9**k for k in range(20)]], 0, LONGEST),
        ([*DESIGN, 3.997], 0, LENGTH),  # by less than a thousandth
        ([*DESIGN, *WAIT[:-1]], 0, LENGTH),
        ([*DESIGN, *WAIT], 0, LENGTH / 2),
        ([*DESIGN, *WAIT, 3.0], 0, GROWTH * LENGTH / 2),
        ([*DESIGN, *WAIT[:-1], 3.0, *WAIT[:-1]], 0, GROWN),  # an improvement starts the wait again
        ([*DESIGN, *WAIT * (HALVINGS - 1)], 0, LENGTH / 2 ** (HALVINGS - 1)),
        ([*DESIGN, *WAIT * HALVINGS], ANEW, LENGTH),
        ([*DESIGN, *WAIT * HALVINGS, 9.0, 9.0, 8.0], ANEW, GROWN),  # which knows nothing of the first
        ([np.inf] * (2 + PATIENCE), 0, LENGTH / 2),
        ([np.inf] * (1 + PATIENCE) + [7.0], 0, GROWN),
        ([-1.0, 0.0, -1.0005], 0, LENGTH),  # by less than a thousandth of the median's distance, 1
        ([-1e6, 1e6, -1e6 - 2.0], 0, LENGTH),
        ([-1e6, 1.0 - 1e6, -1e6 - 0.002], 0, GROWN),  # whatever the constant
        ([-1.0, 0.0, -1.002], 0, GROWN),
        ([0.0, 0.0, 0.0], 0, LENGTH),
    ],
)
def test_the_region_after_these_scores(scores, start, length):
    region = region_of(np.array(scores), initial=2)
    assert region == Region(start, pytest.approx(length, rel=1e-12))


def search(objective, dimensions, count, seed, batch=4):
    strategy = trust_region_search(dimensions, batch)
    history = strategy.init(jax.random.key(seed))
    while len(history.points) < count:
        points = strategy.ask(history)
        history = strategy.tell(history, points, objective(points))
    return history


def rotated_bowl(points):
    """Its axes are not the cube's."""
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    return 0.01 + (((points - [0.3, 0.7, 0.55, 0.4]) @ axes) ** 2 * [1, 2, 4, 8]).sum(axis=1)


def noisy_bowl(points):
    noise = np.exp(0.02 * np.random.default_rng(0).normal(size=len(points)))
    return (0.1 + ((points - [0.3, 0.7, 0.55, 0.4]) ** 2 * [1, 4, 0.3, 2]).sum(axis=1)) * noise


@pytest.mark.parametrize(("objective", "lowest"), [(rotated_bowl, 0.01), (noisy_bowl, 0.1)])
def test_32_points_come_twice_as_close_to_the_minimum_as_400_random_ones(objective, lowest):
    found = [search(objective, 4, 32, seed).scores.min() - lowest for seed in range(3)]
    rng = np.random.default_rng(0)
    drawn = [objective(rng.random((400, 4)).astype(np.float32)).min() - lowest for _ in range(25)]
    assert np.median(found) < np.median(drawn) / 2


@pytest.mark.parametrize("seed", range(3))
def test_no_point_is_asked_for_twice_where_every_function_is_as_good(seed):
    history = search(lambda points: np.zeros(len(points)), 2, 256, seed, batch=128)
    assert len(np.unique(history.points, axis=0)) == 256


@pytest.mark.parametrize("batch", [512, 600])
def test_a_large_batch_has_no_point_twice(batch):
    history = search(lambda points: bowl_below(points, 0.0), 3, 2 * batch, seed=0, batch=batch)
    assert len(np.unique(history.points, axis=0)) == 2 * batch


def bowl_below(points, lowest):
    return lowest + ((points - [0.3, 0.7, 0.55]) ** 2).sum(axis=1)


def test_a_minimum_below_zero_is_found_as_well():
    """After 32 points as well as a minimum above zero, within a factor of two."""
    reference, found = (
        np.median(
            [
                search(lambda points, c=lowest: bowl_below(points, c), 3, 32, s).scores.min() - lowest
                for s in range(3)
            ]
        )
        for lowest in (0.1, -100.0)
    )
    assert found < 2 * reference


def test_a_minimum_in_a_corner_is_found_exactly():
    history = search(lambda points: 1 + points @ np.array([1.0, 2.0]), 2, 24, seed=0)
    assert history.scores.min() == 1.0
