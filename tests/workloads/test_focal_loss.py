"""The focal loss against its definition, the curvatures and fits that are known of it, and far-out logits."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads.losses import focal


def of_lead(lead, gamma):
    """Of two classes, the label's logit ahead by `lead`."""
    return focal(jnp.stack([jnp.zeros_like(lead), lead])[None], jnp.array([1]), gamma)[0]


@functools.cache
def curvature(gamma):
    return jax.jit(jax.vmap(jax.grad(jax.grad(lambda lead: of_lead(lead, gamma)))))


def logit(p):
    return np.log(p / (1 - p))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_it_is_its_definition_and_its_gradient_cross_entropys_times_a_factor(gamma):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)), rng.integers(4, size=6)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p = softmax[np.arange(6), labels]
    found, pull = jax.vjp(lambda z: focal(z, jnp.asarray(labels), gamma), jnp.float32(logits))
    np.testing.assert_allclose(found, -((1 - p) ** gamma) * np.log(p), rtol=1e-5)
    factor = (1 - p) ** gamma - gamma * p * (1 - p) ** (gamma - 1) * np.log(p)
    np.testing.assert_allclose(
        pull(jnp.ones(6))[0], factor[:, None] * (softmax - np.eye(4)[labels]), rtol=1e-4, atol=1e-6
    )


def test_without_focus_it_is_the_cross_entropy():
    logits, labels = jax.random.normal(jax.random.key(0), (5, 3)), jnp.array([0, 1, 2, 0, 1])
    expected = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(focal(logits, labels, 0.0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("gamma", "largest"), [(0.0, 0.25), (1.0, 0.390), (2.0, 0.496), (3.0, 0.579), (5.0, 0.701)]
)
def test_its_largest_curvature_grows_with_the_focus(gamma, largest):
    assert float(jnp.max(curvature(gamma)(jnp.linspace(-8, 8, 4001)))) == pytest.approx(largest, abs=5e-4)


@pytest.mark.parametrize(
    ("gamma", "value"), [(0.0, 0.0900), (1.0, 0.0346), (2.0, 0.0077), (3.0, 0.0014), (5.0, 0.00003)]
)
def test_where_the_model_is_confident_its_curvature_falls_with_the_focus(gamma, value):
    digits = 5e-6 if gamma == 5 else 5e-5
    assert float(curvature(gamma)(jnp.float32(logit(0.9))[None])[0]) == pytest.approx(value, abs=digits)


@pytest.mark.parametrize(("gamma", "least"), [(2.0, -0.0472), (5.0, -0.117)])
def test_it_is_not_convex(gamma, least):
    assert float(jnp.min(curvature(gamma)(jnp.linspace(-8, 8, 4001)))) == pytest.approx(least, abs=5e-4)


@pytest.mark.parametrize(("gamma", "fitted"), [(0.0, 0.7), (1.0, 0.617), (2.0, 0.579), (5.0, 0.538)])
def test_a_true_probability_of_seven_tenths_is_fitted_as(gamma, fitted):
    leads = logit(np.linspace(0.4, 0.9, 5001))
    losses = 0.7 * of_leads(leads, gamma) + 0.3 * of_leads(-leads, gamma)
    assert np.linspace(0.4, 0.9, 5001)[np.argmin(losses)] == pytest.approx(fitted, abs=1e-3)


def of_leads(leads, gamma):
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(lambda lead: of_lead(lead, gamma))(jnp.asarray(leads)))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("lead", [-1e4, -80.0, 80.0, 1e4])
def test_far_out_it_is_finite_with_its_gradient(gamma, lead):
    value, slope = jax.value_and_grad(of_lead)(jnp.float32(lead), gamma)
    expected = -lead if lead < 0 else 0
    assert float(value) == pytest.approx(expected, abs=1e-6)
    assert float(slope) == pytest.approx(-1 if lead < 0 else 0, abs=1e-6)


def test_a_negative_focus_is_refused():
    with pytest.raises(ValueError, match="gamma must not be negative, got -1"):
        focal(jnp.zeros((1, 2)), jnp.array([0]), -1)
