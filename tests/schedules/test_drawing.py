"""Drawn shapes: how evenly they fill the cube, and how they are crossed with learning rates."""

import jax
import numpy as np
import pytest
from scipy.stats import qmc

from schedules.search import STRATEGIES
from schedules.search.drawing import RATES, grid_search, random_search, sobol_search

DRAWN = {"random": random_search, "sobol": sobol_search, "grid": grid_search}
every_draw = pytest.mark.parametrize("name", DRAWN)


def points_of(name, shapes, dimensions=4, seed=0):
    """All points of so many shapes, shape by shape: [shapes, RATES, dimensions]."""
    strategy = STRATEGIES[name](dimensions, shapes * RATES)
    points = strategy.ask(strategy.init(jax.random.key(seed)))
    return points.reshape(shapes, RATES, dimensions)


def shapes_of(name, shapes, dimensions=4, seed=0):
    return points_of(name, shapes, dimensions, seed)[:, 0, :-1].astype(float)


def cells(shapes, per_axis):
    return {tuple(cell) for cell in np.floor(shapes * per_axis).astype(int).tolist()}


@every_draw
def test_each_shape_meets_the_same_rates_in_the_middles_of_equal_slices(name):
    points = points_of(name, 5)
    assert (points[:, :, :-1] == points[:, :1, :-1]).all()
    assert len(np.unique(points[:, 0, :-1], axis=0)) == 5
    np.testing.assert_array_equal(points[:, :, -1], np.tile((np.arange(16) + 0.5) / 16, (5, 1)))


@every_draw
@pytest.mark.parametrize("batches", [(4, 12), (1, 2, 5, 8), (3, 13), (15, 1, 32)])
def test_the_sequence_is_the_same_however_it_is_cut(name, batches):
    history = DRAWN[name](4, 1).init(jax.random.key(0))
    for batch in batches:
        strategy = DRAWN[name](4, batch)
        history = strategy.tell(history, strategy.ask(history), np.zeros(batch))
    whole = points_of(name, 3).reshape(-1, 4)
    np.testing.assert_array_equal(history.points, whole[: sum(batches)])


@every_draw
def test_without_shape_parameters_the_rates_become_ever_finer(name):
    rates = points_of(name, 7, dimensions=1)[:, :, 0]
    assert sorted(np.ravel(rates[1:3])) == pytest.approx((np.arange(32) + 0.5) / 32, abs=1e-7)
    assert sorted(np.ravel(rates[3:])) == pytest.approx((np.arange(64) + 0.5) / 64, abs=1e-7)


@every_draw
def test_shapes_cover_the_whole_cube(name):
    octants = (shapes_of(name, 137) > 0.5) @ [1, 2, 4]
    assert (np.bincount(octants, minlength=8) >= 4).all()  # 17 expected at random: below 4 in 1 of 10,000 draws


@pytest.mark.parametrize("seed", range(5))
def test_sobol_fills_the_cube_more_evenly_than_random(seed):
    discrepancies = {name: qmc.discrepancy(shapes_of(name, 64, seed=seed)) for name in ("random", "sobol")}
    assert discrepancies["sobol"] < discrepancies["random"] / 2


@pytest.mark.parametrize("axis", range(3))
def test_sobol_has_one_shape_in_each_of_64_equal_slices_of_an_axis(axis):
    shapes = shapes_of("sobol", 64)
    assert sorted(np.floor(64 * shapes[:, axis]).astype(int)) == list(range(64))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_grids_levels_are_the_centres_of_ever_smaller_cells(dimensions):
    ends = np.cumsum([2 ** (level * dimensions) for level in range(4)]).tolist()
    shapes = shapes_of("grid", ends[-1], dimensions + 1)
    for level, end in enumerate(ends):
        count, per_axis = 2 ** (level * dimensions), 2**level
        of_level = shapes[end - count : end]
        assert len(cells(of_level, per_axis)) == count
        np.testing.assert_array_equal(np.mod(of_level * per_axis, 1), 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_the_beginning_of_a_level_is_spread_over_the_coarser_ones(seed):
    level_3 = shapes_of("grid", 1 + 4 + 16 + 64, dimensions=3, seed=seed)[21:]
    assert len(cells(level_3[:4], 2)) == 4
    assert len(cells(level_3[:16], 4)) == 16


def test_the_order_within_a_level_differs_from_key_to_key():
    first, second = (shapes_of("grid", 73, seed=seed) for seed in (0, 1))
    assert (first[9:] != second[9:]).any(axis=1).mean() > 0.9
    assert cells(first, 8) == cells(second, 8)  # a whole level holds the same shapes for all


def test_every_second_shape_of_a_grid_mirrors_the_one_before_so_that_each_parameter_varies_early():
    shapes = shapes_of("grid", 17, dimensions=9)[1:]
    np.testing.assert_array_equal(shapes[::2] + shapes[1::2], 1)
    assert (np.abs(shapes[::2] - shapes[1::2]) == 0.5).all()
