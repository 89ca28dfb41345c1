"""The interpolants against SciPy on distinct knots, and against what must hold on coincident ones."""

import functools

import jax
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from schedules.interpolation import pchip, piecewise_linear

X = np.linspace(0, 1, 101)
COUNTS = range(3, 9)
SETS_PER_COUNT = 170  # times six counts of knots: more than 1,000 sets
TOLERANCE = {np.float32: 5e-5, np.float64: 1e-10}  # the specification's


@functools.cache
def compiled(interpolate):
    """Of many sets of knots and values, at the same x."""
    return jax.jit(jax.vmap(lambda x, knots, values: interpolate(x, list(knots), list(values)), (None, 0, 0)))


def sets_of(count, dtype):
    sets = [knots_and_values(seed, count, dtype) for seed in range(SETS_PER_COUNT)]
    return tuple(map(np.stack, zip(*sets, strict=True)))


def knots_and_values(seed, count, dtype):
    """Distinct knots over [0, 1] with gaps over four decades; values that repeat, only fall, or neither."""
    rng = np.random.default_rng(seed)
    gaps = 10 ** rng.uniform(-4, 0, count - 1)
    knots = np.concatenate([[0.0], np.cumsum(gaps)])
    knots = (knots / knots[-1]).astype(dtype)
    values = rng.choice([rng.random(count), rng.integers(0, 3, count) / 2]).astype(dtype)
    return knots, np.sort(values)[::-1] if rng.random() < 0.3 else values


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("count", COUNTS)
def test_pchip_is_scipys_on_distinct_knots(count, dtype):
    x, (knots, values) = X.astype(dtype), sets_of(count, dtype)
    with jax.enable_x64(dtype == np.float64):
        ours = np.asarray(compiled(pchip)(x, knots, values))
    assert ours.dtype == dtype
    sets = zip(knots.astype(np.float64), values.astype(np.float64), strict=True)
    scipys = [PchipInterpolator(*pair)(x.astype(np.float64)) for pair in sets]
    np.testing.assert_allclose(ours, scipys, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("count", [3, 8])
def test_piecewise_linear_is_numpys_on_distinct_knots(count):
    x, (knots, values) = X.astype(np.float32), sets_of(count, np.float32)
    numpys = [np.interp(x, *pair) for pair in zip(knots, values, strict=True)]
    # values in [0, 1]: a rounding of each of the pieces
    np.testing.assert_allclose(compiled(piecewise_linear)(x, knots, values), numpys, rtol=0, atol=2e-6)


@pytest.mark.parametrize("interpolate", [pchip, piecewise_linear])
def test_a_curve_is_constant_outside_its_knots(interpolate):
    x, knots, values = np.float32([-1.0, 0.2, 0.9, 3.0]), np.float32([[0.2, 0.5, 0.9]]), [0.3, 1.0, 0.6]
    values_at_knots = compiled(interpolate)(x, knots, np.float32([values]))
    np.testing.assert_allclose(values_at_knots, [[0.3, 0.3, 0.6, 0.6]], rtol=0, atol=2e-7)


@pytest.mark.parametrize("interpolate", [pchip, piecewise_linear])
@pytest.mark.parametrize("coincident", [(0, 1), (1, 2), (2, 3), (0, 1, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_coincident_knots_give_a_finite_jump_that_starts_at_the_first_value(interpolate, coincident):
    knots = np.array([0.1, 0.4, 0.5, 0.9], np.float32)
    knots[list(coincident)] = knots[coincident[0]]
    values = np.array([0.9, 0.6, 0.3, 0.1], np.float32)
    x = np.array([knots[coincident[0]], min(knots[coincident[0]] + 1e-5, 1)], np.float32)
    ((first, second),) = compiled(interpolate)(x, knots[None], values[None])
    np.testing.assert_allclose(first, values[coincident[0]], rtol=0, atol=5e-7)
    # past the jump: the last of the values, less a slope of at most 3 secants times 1e-5
    np.testing.assert_allclose(second, values[coincident[-1]], rtol=0, atol=1e-4)


@pytest.mark.parametrize("interpolate", [pchip, piecewise_linear])
def test_a_curve_through_coincident_knots_stays_between_its_values(interpolate):
    rng, shape = np.random.default_rng(0), (1_000, 5)
    knots = np.sort(rng.choice(np.float32([0.0, 1e-30, 0.3, 0.3 + 1e-7, 0.5, 1.0]), shape), axis=1)
    values = np.where(rng.random(shape) < 0.5, rng.random(shape), rng.choice([0.0, 1e-30, 0.5, 1.0], shape))
    curves = np.asarray(compiled(interpolate)(np.float32(X), knots, np.float32(values)))
    # finite, and outside by no more than the roundings of four increments
    assert (curves >= np.min(values, axis=1, keepdims=True) - 2e-6).all()
    assert (curves <= np.max(values, axis=1, keepdims=True) + 2e-6).all()
