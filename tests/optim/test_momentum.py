"""Momentum against NumPy, and against optax's running average and trace."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_dtypes import bfloat16

from optim import scale_by_momentum

SHAPES = {"kernel": (3, 2), "bias": (2,)}
ROUNDINGS = {"rtol": 1e-5, "atol": 1e-6}  # of a few float32 sums of normal numbers


def directions(tx, params, gradients):
    state, found = tx.init(params), []
    for gradient in gradients:
        direction, state = tx.update(gradient, state, params)
        found.append(direction)
    return found, state


def assert_equal_trees(actual, expected, **tolerance):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, **tolerance), actual, expected)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.95])
def test_the_direction_is_numpys_running_average(beta, nesterov, draw):
    with jax.enable_x64(True):
        params, gradients = draw(SHAPES, 6, dtype=np.float64)
        found, state = directions(scale_by_momentum(beta, nesterov=nesterov), params, gradients)
        average = jax.tree.map(np.zeros_like, params)
        for direction, gradient in zip(found, gradients, strict=True):
            average = jax.tree.map(lambda m, g: beta * m + (1 - beta) * g, average, gradient)
            lookahead = jax.tree.map(lambda m, g: (1 - beta) * g + beta * m, average, gradient)
            assert_equal_trees(direction, lookahead if nesterov else average, rtol=1e-13, atol=1e-14)
        if beta:
            assert_equal_trees(state.average, average, rtol=1e-13, atol=1e-14)


def test_without_nesterov_it_is_optaxs_running_average(draw):
    params, gradients = draw(SHAPES, 5)
    ours, _ = directions(scale_by_momentum(0.9), params, gradients)
    theirs, _ = directions(optax.ema(0.9, debias=False), params, gradients)
    assert_equal_trees(ours, theirs, **ROUNDINGS)


@pytest.mark.parametrize("nesterov", [False, True])
def test_it_is_one_minus_beta_times_optaxs_trace(nesterov, draw):
    params, gradients = draw(SHAPES, 5)
    ours, _ = directions(scale_by_momentum(0.8, nesterov=nesterov), params, gradients)
    theirs, _ = directions(optax.trace(0.8, nesterov=nesterov), params, gradients)
    assert_equal_trees(ours, jax.tree.map(lambda direction: 0.2 * direction, theirs), **ROUNDINGS)


@pytest.mark.parametrize("nesterov", [False, True])
def test_no_momentum_passes_the_gradient_on(nesterov, draw):
    params, gradients = draw(SHAPES, 3)
    found, _ = directions(scale_by_momentum(0.0, nesterov=nesterov), params, gradients)
    jax.tree.map(np.testing.assert_array_equal, found, gradients)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_momentum_forgets_a_bad_gradient(bad, nesterov):
    """Known to be 0 it keeps nothing; injected, or 0 in one of many runs, it keeps what it does not use."""
    spoilt, good = jnp.float32([bad, 1.0]), jnp.float32([-2.0, 3.0])
    assert not jax.tree.leaves(scale_by_momentum(0.0, nesterov=nesterov).init(good))

    @jax.vmap
    def two_steps(beta):
        tx = scale_by_momentum(beta, nesterov=nesterov)
        _, state = tx.update(spoilt, tx.init(good))
        return tx.update(good, state)[0]

    found = two_steps(jnp.float32([0.0, 0.5]))
    np.testing.assert_array_equal(found[0], good)
    assert not np.isfinite(found[1, 0])


@pytest.mark.parametrize(
    ("gradient_dtype", "name", "kept_dtype"),
    [
        (bfloat16, None, bfloat16),
        (bfloat16, "float32", np.float32),
        (np.float32, "bfloat16", bfloat16),
        (np.float32, None, np.float32),
    ],
)
def test_the_average_is_rounded_to_its_dtype_and_the_direction_to_the_gradients(
    gradient_dtype, name, kept_dtype
):
    rng = np.random.default_rng(3)
    gradients = rng.normal(size=(6, 40)).astype(gradient_dtype)
    found, state = directions(scale_by_momentum(0.9, dtype=name), jnp.asarray(gradients[0]), gradients)
    kept = np.zeros(40, kept_dtype)
    for direction, gradient in zip(found, gradients, strict=True):
        average = np.float32(0.9) * kept.astype(np.float32)
        average += (1 - np.float32(0.9)) * gradient.astype(np.float32)
        kept = average.astype(kept_dtype)
        assert direction.dtype == gradient_dtype
        np.testing.assert_allclose(
            np.float32(direction), average.astype(gradient_dtype).astype(np.float32), **ROUNDINGS
        )
    assert state.average.dtype == kept_dtype
    np.testing.assert_allclose(np.float32(state.average), kept.astype(np.float32), **ROUNDINGS)


@pytest.mark.parametrize("momentum", [1.0, -0.1, 1.5, np.nan])
def test_momentum_outside_its_range_is_refused_by_name(momentum):
    with pytest.raises(ValueError, match=f"^momentum must be in .* got {momentum}"):
        scale_by_momentum(momentum)
