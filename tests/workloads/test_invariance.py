"""Losses over environments: the penalties' bias, what they do not see, and slopes by differentiation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import brentq

from workloads.invariance import bottleneck_irm, group_dro, irm, irm_penalty, risk_extrapolation, risks


def batch(environments=3, size=6, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.normal(size=(environments, size, classes)), jnp.float32),
        jnp.asarray(rng.integers(classes, size=(environments, size))),
    )


@jax.jit
def slope(logits, labels):
    """∂R(s·logits)/∂s at 1, by differentiation."""

    def risk(scale):
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(scale * logits, labels))

    return jax.grad(risk)(1.0)


def test_a_risk_is_the_mean_cross_entropy_of_its_environment():
    logits, labels = batch()
    expected = jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels), axis=1)
    np.testing.assert_allclose(risks(logits, labels), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [2, 5, 6])
def test_the_irm_penalty_is_the_product_of_the_slopes_of_two_halves(size):
    logits, labels = batch(size=size)
    half = -(-size // 2)
    products = [
        slope(z[:half], y[:half]) * slope(z[half:], y[half:]) for z, y in zip(logits, labels, strict=True)
    ]
    assert float(irm_penalty(logits, labels)) == pytest.approx(np.mean(products), rel=1e-4, abs=1e-6)


def test_the_square_of_a_batch_of_two_is_too_large_by_half_the_variance_and_the_product_is_not():
    """Slopes 0 and 2, as often: of mean 1 and variance 1, over all batches of two."""
    lead = brentq(lambda lead: -lead / (1 + np.exp(lead)) - 2, -10, 0)  # that of the label's logit, slope 2
    products, squares = [], []
    for leads in itertools.product([0, lead], repeat=2):
        logits = jnp.float32([[[value, 0.0] for value in leads]] * 2)  # the same in two environments
        products.append(float(irm_penalty(logits, jnp.zeros((2, 2), int))))
        squares.append(float(slope(logits[0], jnp.zeros(2, int))) ** 2)
    assert np.mean(products) == pytest.approx(1, rel=1e-5)
    assert np.mean(squares) == pytest.approx(1 + 1 / 2, rel=1e-5)


def test_a_model_that_tells_nothing_has_no_irm_penalty():
    assert float(irm_penalty(jnp.zeros((3, 6, 4)), batch()[1])) == 0


def test_the_losses_are_the_mean_risk_with_their_penalties():
    logits, labels = batch()
    features = jax.random.normal(jax.random.key(1), (3, 6, 5))
    mean, penalty = float(jnp.mean(risks(logits, labels))), float(irm_penalty(logits, labels))
    variance = np.mean([np.var(rows, axis=0) for rows in np.float64(features)])
    assert float(irm(logits, labels, 7.0)) == pytest.approx(mean + 7 * penalty, rel=1e-5)
    found = bottleneck_irm(logits, labels, features, 7.0, 0.3)
    assert float(found) == pytest.approx(mean + 7 * penalty + 0.3 * variance, rel=1e-5)


def test_what_is_added_to_all_risks_does_not_change_the_penalty_of_risk_extrapolation():
    environment_risks = jnp.array([0.5, 1.0, 3.0])
    mean, variance = 1.5, (1.0 + 0.25 + 2.25) / 3
    for constant in (0.0, 4.0):
        found = risk_extrapolation(environment_risks + constant, 2.0)
        assert float(found) == pytest.approx(mean + constant + 2 * variance, rel=1e-6)


def test_group_dro_comes_to_weigh_the_worst_risk_alone_and_passes_gradients_by_its_weights():
    environment_risks, weights = jnp.array([1.0, 2.0, 1.5]), jnp.full(3, 1 / 3)
    loss, moved = group_dro(environment_risks, weights, 0.5)
    expected = np.exp(0.5 * np.array([1.0, 2.0, 1.5]))
    np.testing.assert_allclose(moved, expected / expected.sum(), rtol=1e-6)
    gradient = jax.grad(lambda r: group_dro(r, weights, 0.5)[0])(environment_risks)
    np.testing.assert_allclose(gradient, moved, rtol=1e-6)
    for _ in range(100):
        loss, weights = group_dro(environment_risks, weights, 0.5)
    assert float(loss) == pytest.approx(2.0, abs=1e-5)


def test_one_environment_shows_nothing_invariant():
    logits, labels = batch(environments=1)
    message = "environments: what is invariant shows in at least 2 of them, got 1"
    for loss in (
        lambda: irm(logits, labels, 1.0),
        lambda: bottleneck_irm(logits, labels, logits, 1.0, 1.0),
        lambda: risk_extrapolation(risks(logits, labels), 1.0),
        lambda: group_dro(risks(logits, labels), jnp.ones(1), 0.1),
    ):
        with pytest.raises(ValueError, match=message):
            loss()


def test_one_example_has_no_two_halves():
    with pytest.raises(ValueError, match="two halves need at least 2 examples an environment, got 1"):
        irm_penalty(*batch(size=1))
