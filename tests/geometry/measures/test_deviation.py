"""The searched deviation against a root found by SciPy, and where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from geometry.measures import by_magnitude, isotropic, largest_deviation
from geometry.measures.deviation import LEAST, MOST

SPREADS = {
    isotropic: lambda sigma, weights: np.full_like(weights, sigma),
    by_magnitude: lambda sigma, weights: np.sqrt(sigma**2 * weights**2 + 1e-3**2),
}
spreads = pytest.mark.parametrize("spread", SPREADS)
DRAWS = 6


def networks():
    """The widths, examples and labels of three networks, and weights that were not trained."""
    for number, widths in enumerate([(3, 5, 2), (4, 3, 3), (2, 7, 4)]):
        rng = np.random.default_rng(number)
        weights = rng.normal(size=widths[0] * widths[1] + widths[1] * widths[2])
        yield widths, rng.normal(size=(30, widths[0])), rng.integers(widths[2], size=30), weights


def cross_entropy(xp, widths, inputs, labels, weights):
    """Of a ReLU network without biases, by the array package `xp`."""
    fan_in, width, classes = widths
    first, second = weights[: fan_in * width], weights[fan_in * width :]
    logits = xp.maximum(inputs @ first.reshape(fan_in, width), 0) @ second.reshape(width, classes)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    return xp.mean(xp.log(xp.sum(xp.exp(shifted), axis=1)) - shifted[xp.arange(len(labels)), labels])


@spreads
@pytest.mark.parametrize("number", range(3))
def test_it_is_the_root_of_the_mean_over_the_same_draws_to_one_percent(number, spread):
    widths, inputs, labels, weights = list(networks())[number]
    key = jax.random.key(number)
    normals = np.asarray(jax.random.normal(key, (DRAWS, len(weights))), np.float64)

    def excess(sigma):
        deviations = SPREADS[spread](sigma, weights)
        raised = [cross_entropy(np, widths, inputs, labels, weights + deviations * z) for z in normals]
        return np.mean(raised) - cross_entropy(np, widths, inputs, labels, weights) - 0.1

    def error(params):
        return cross_entropy(jnp, widths, jnp.float32(inputs), labels, params)

    search = jax.jit(lambda weights: largest_deviation(error, weights, key, spread=spread, draws=DRAWS))
    found = search(np.float32(weights))
    assert float(found) == pytest.approx(brentq(excess, LEAST, MOST), rel=0.01)


def test_on_a_quadratic_it_is_the_root_of_the_increase_over_half_the_mean_curvature():
    curvature, key = np.array([1.0, 4.0, 0.5]), jax.random.key(3)
    normals = np.asarray(jax.random.normal(key, (50, 3)), np.float64)
    expected = np.sqrt(0.02 / np.mean(normals**2 @ curvature / 2))
    search = jax.jit(
        lambda weights: largest_deviation(
            lambda w: jnp.sum(np.float32(curvature) * w**2) / 2, weights, key, increase=0.02, draws=50
        )
    )
    found = search(np.zeros(3, np.float32))
    assert float(found) == pytest.approx(expected, rel=0.01)


@jax.jit
def deviation_of_slope(slope):
    return largest_deviation(
        lambda w: jnp.where(jnp.all(w == 0), 0.0, slope), jnp.zeros(2), jax.random.key(0)
    )


@pytest.mark.parametrize(("slope", "end"), [(0.0, MOST), (np.inf, LEAST)])
def test_where_the_error_never_rises_or_at_once_it_is_an_end_of_what_is_searched(slope, end):
    assert float(deviation_of_slope(slope)) == pytest.approx(end, rel=0.01)


def test_a_parameter_of_zero_is_perturbed_too():
    np.testing.assert_allclose(
        jax.jit(by_magnitude)(np.float32(2), np.float32([0, 3])), [1e-3, 6.0], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["draws", "bisections"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        largest_deviation(jnp.sum, jnp.zeros(2), jax.random.key(0), **{name: 0})
