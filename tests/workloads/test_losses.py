"""StableMax by its definition in NumPy, and where softmax has nothing more to say."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads.losses import stablemax


def numpy_stablemax(logits, label):
    s = np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))
    return -np.log(s[label] / s.sum())


def test_it_is_its_definition():
    logits = np.random.default_rng(0).normal(size=(5, 3, 7)) * 4
    labels = np.random.default_rng(1).integers(0, 7, (5, 3))
    with jax.enable_x64(True):
        found = stablemax(jnp.asarray(logits), jnp.asarray(labels))
    for place in np.ndindex(5, 3):
        np.testing.assert_allclose(found[place], numpy_stablemax(logits[place], labels[place]), rtol=1e-12)


def test_its_score_is_odd_in_the_logarithm_with_slope_one_at_zero():
    """s(x) s(-x) = 1: of two logits x and -x, ln p differ by 2 ln s(x)."""
    loss = lambda logits: stablemax(logits, jnp.array(0))  # noqa: E731
    x = 2.5
    np.testing.assert_allclose(
        loss(jnp.array([-x, x])) - loss(jnp.array([x, -x])), 2 * np.log1p(x), rtol=1e-6
    )
    np.testing.assert_allclose(jax.grad(loss)(jnp.zeros(2)), [-0.5, 0.5], rtol=1e-6)


def test_a_lead_of_a_thousand_has_a_gradient_yet():
    """p = .99900 and 9.97e-7, where float32 softmax's is 0 from a lead of 24 ln 2 on."""
    logits, label = jnp.array([1000.0, 0.0]), jnp.array(0)
    np.testing.assert_allclose(jnp.exp(-stablemax(logits, label)), 0.99900, atol=5e-6)
    np.testing.assert_allclose(jax.grad(stablemax)(logits, label)[0], -9.97e-7, rtol=1e-3)
    softmax = optax.softmax_cross_entropy_with_integer_labels
    assert jax.grad(softmax)(jnp.array([24 * np.log(2) + 0.1, 0.0], jnp.float32), label)[0] == 0


def test_bad_logits():
    with pytest.raises(TypeError, match="logits"):
        stablemax(jnp.array([1, 2]), jnp.array(0))
    for bad in (jnp.nan, jnp.inf):
        assert jnp.isnan(stablemax(jnp.array([bad, 0.0]), jnp.array(0)))
    assert stablemax(jnp.array([-jnp.inf, 0.0]), jnp.array(0)) == jnp.inf
