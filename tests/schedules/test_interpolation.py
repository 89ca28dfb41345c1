"""The interpolants against SciPy on distinct knots, and against what must hold on coincident ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from schedules.interpolation import pchip, piecewise_linear

X = np.linspace(0, 1, 101)
COUNTS = range(3, 9)
SETS_PER_COUNT = 170  # times six counts of knots: more than 1,000 sets
TOLERANCE = {np.float32: 5e-5, np.float64: 1e-10}  # the specification's


@functools.cache
def compiled(interpolate):
    return jax.jit(lambda x, knots, values: interpolate(x, list(knots), list(values)))


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
    @settings(max_examples=SETS_PER_COUNT)
    @given(seed=st.integers(0, 2**32 - 1))
    def agrees(seed):
        knots, values = knots_and_values(seed, count, dtype)
        x = X.astype(dtype)
        ours = compiled(pchip)(jnp.asarray(x), jnp.asarray(knots), jnp.asarray(values))
        scipys = PchipInterpolator(knots.astype(np.float64), values.astype(np.float64))(x.astype(np.float64))
        np.testing.assert_allclose(ours, scipys, rtol=0, atol=TOLERANCE[dtype])

    with jax.enable_x64(dtype == np.float64):
        agrees()


@pytest.mark.parametrize("count", [3, 8])
def test_piecewise_linear_is_numpys_on_distinct_knots(count):
    @settings(max_examples=100)
    @given(seed=st.integers(0, 2**32 - 1))
    def agrees(seed):
        knots, values = knots_and_values(seed, count, np.float32)
        ours = compiled(piecewise_linear)(
            jnp.asarray(X, jnp.float32), jnp.asarray(knots), jnp.asarray(values)
        )
        # values in [0, 1]: a rounding of each of the pieces
        np.testing.assert_allclose(ours, np.interp(X.astype(np.float32), knots, values), rtol=0, atol=2e-6)

    agrees()


@pytest.mark.parametrize("interpolate", [pchip, piecewise_linear])
def test_a_curve_is_constant_outside_its_knots(interpolate):
    values_at_knots = compiled(interpolate)(
        jnp.asarray([-1.0, 0.2, 0.9, 3.0]), jnp.asarray([0.2, 0.5, 0.9]), jnp.asarray([0.3, 1.0, 0.6])
    )
    np.testing.assert_allclose(values_at_knots, [0.3, 0.3, 0.6, 0.6], rtol=0, atol=2e-7)


@pytest.mark.parametrize("interpolate", [pchip, piecewise_linear])
@pytest.mark.parametrize("coincident", [(0, 1), (1, 2), (2, 3), (0, 1, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_coincident_knots_give_a_finite_jump_that_starts_at_the_first_value(interpolate, coincident):
    knots = np.array([0.1, 0.4, 0.5, 0.9], np.float32)
    knots[list(coincident)] = knots[coincident[0]]
    values = np.array([0.9, 0.6, 0.3, 0.1], np.float32)
    x = np.array([knots[coincident[0]], min(knots[coincident[0]] + 1e-5, 1)], np.float32)
    first, second = compiled(interpolate)(jnp.asarray(x), jnp.asarray(knots), jnp.asarray(values))
    np.testing.assert_allclose(first, values[coincident[0]], rtol=0, atol=5e-7)
    # past the jump: the last of the values, less a slope of at most 3 secants times 1e-5
    np.testing.assert_allclose(second, values[coincident[-1]], rtol=0, atol=1e-4)


@pytest.mark.parametrize("interpolate", [pchip, piecewise_linear])
def test_a_curve_through_coincident_knots_stays_between_its_values(interpolate):
    @settings(max_examples=100)
    @given(
        knots=st.lists(st.sampled_from([0.0, 1e-30, 0.3, 0.3 + 1e-7, 0.5, 1.0]), min_size=5, max_size=5),
        values=st.lists(st.floats(0, 1, width=32), min_size=5, max_size=5),
    )
    def stays(knots, values):
        curve = compiled(interpolate)(
            jnp.asarray(X, jnp.float32), jnp.asarray(sorted(knots)), jnp.asarray(values)
        )
        # finite, and outside by no more than the roundings of four increments
        assert curve.min() >= min(values) - 2e-6
        assert curve.max() <= max(values) + 2e-6

    stays()
