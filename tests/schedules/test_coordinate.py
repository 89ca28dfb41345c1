"""Coordinate descent: its state on scores made by hand, and where its sweeps lie."""

import jax
import numpy as np
import pytest

from schedules.search.coordinate import Descent, coordinate_search, descent_of

INF = np.inf
DESIGN = [3.0, 1.0]
CYCLE = [2.0] * 4  # two axes without improvement, two points each


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([], Descent(begun=0, told=0)),
        ([3.0], Descent(begun=0, told=0)),
        (DESIGN, Descent(0, told=2, best=1)),
        ([1.0, 1.0], Descent(0, 2, best=0)),  # the earliest of equals
        ([*DESIGN, 0.5], Descent(0, 2, best=1)),  # half a sweep changes nothing
        ([*DESIGN, 2.0, 2.0], Descent(0, 4, 1, axis=1, failed=1)),
        ([*DESIGN, 2.0, 0.5], Descent(0, 4, best=3, axis=1)),
        ([*DESIGN, 1.0, 2.0], Descent(0, 4, 1, axis=1, failed=1)),  # a tie is no improvement
        ([*DESIGN, 2.0, 2.0, 0.5, 0.4], Descent(0, 6, best=5, axis=0)),
        ([*DESIGN, *CYCLE], Descent(0, 6, 1, step=0.125)),
        ([*DESIGN, 2.0, 2.0, 0.5, 2.0, 2.0, 2.0], Descent(0, 8, 4, axis=1, failed=1)),
        ([*DESIGN, *CYCLE * 4], Descent(0, 18, 1, step=0.5 / 4**4)),
        ([*DESIGN, *CYCLE * 5], Descent(22, 22)),  # the step is tiny: another descent
        ([*DESIGN, *CYCLE * 5, 8.0, 9.0, 9.0, 7.0], Descent(22, 26, 25, axis=1)),
        ([INF, INF, INF, INF], Descent(0, 4, 0, axis=1, failed=1)),
        ([INF, INF, INF, 5.0], Descent(0, 4, 3, axis=1)),
    ],
)
def test_the_descent_after_these_scores(scores, expected):
    assert descent_of(np.array(scores), dimensions=2, design=2, sweep=2) == expected


def search(dimensions, batch, batches):
    strategy = coordinate_search(dimensions, batch)
    history = strategy.init(jax.random.key(0))
    for _ in range(batches):
        points = strategy.ask(history)
        history = strategy.tell(history, points, ((points - 0.3) ** 2).sum(axis=1))
    return history


@pytest.mark.parametrize(
    ("batch", "design", "sweep"), [(1, 12, 4), (2, 12, 4), (4, 12, 4), (5, 15, 5), (3, 12, 6)]
)
def test_a_sweep_has_a_point_in_each_slice_of_one_axis_around_the_best(batch, design, sweep):
    history = search(3, batch, (design + 3 * sweep) // batch)
    for axis in range(3):
        begun = design + axis * sweep
        best = history.points[np.argmin(history.scores[:begun])]
        swept = history.points[begun : begun + sweep]
        others = [other for other in range(3) if other != axis]
        np.testing.assert_array_equal(swept[:, others], np.tile(best[others], (sweep, 1)))
        low, high = max(0, best[axis] - 0.5), min(1, best[axis] + 0.5)
        slices = np.floor((swept[:, axis] - low) / (high - low) * sweep)
        assert slices.tolist() == list(range(sweep))


@pytest.mark.parametrize("dimensions", [1, 3, 9])
def test_the_design_fills_the_cube_evenly(dimensions):
    design = search(dimensions, 4, dimensions).points
    for axis in range(dimensions):
        counts = np.bincount((design[:, axis] * 4).astype(int), minlength=4)
        assert counts.max() - counts.min() <= 4  # of a cut-off Sobol sequence
