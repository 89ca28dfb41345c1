"""The Gaussian process against scikit-learn's, with the same kernel."""

import functools

import jax
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern

from schedules.search import surrogate

DIMENSIONS = 3


def objective(points):
    return 0.1 + ((points - [0.3, 0.6, 0.5]) ** 2 * [1, 4, 0.2]).sum(axis=1)


def draw(count, seed):
    return np.random.default_rng(seed).random((count, DIMENSIONS))


@functools.cache
def fitted(count=20, seed=0, noise=0.0):
    points = draw(count, seed).astype(np.float32)
    scores = objective(points) * np.exp(noise * np.random.default_rng(seed).normal(size=count))
    return points, scores, surrogate.fit(points, scores)


def oracle(points, scores, log_parameters):
    """scikit-learn's process, conditioned on the compressed scores."""
    amplitude, noise, *lengths = np.exp(log_parameters[: 2 + DIMENSIONS])
    kernel = ConstantKernel(amplitude**2) * Matern(length_scale=lengths, nu=2.5)
    process = GaussianProcessRegressor(kernel, alpha=noise**2, optimizer=None)
    return process.fit(points.astype(float), surrogate.compressed(scores))


def log_posterior(points, scores, log_parameters):
    """Up to a constant: normal priors on the logarithms, see the constants of the module."""
    means = np.array([0.0, -4.0, *[np.log(DIMENSIONS / 4) / 2] * DIMENSIONS])
    spreads = np.array([1.0, 2.0, *[1.0] * DIMENSIONS])
    prior = -((((log_parameters[: 2 + DIMENSIONS] - means) / spreads) ** 2).sum()) / 2
    return oracle(points, scores, log_parameters).log_marginal_likelihood() + prior


@pytest.mark.parametrize(("count", "noise"), [(6, 0.0), (20, 0.0), (20, 0.1), (40, 0.1)])
def test_the_posterior_mean_is_scikit_learns(count, noise):
    points, scores, model = fitted(count, noise=noise)
    process = oracle(points, scores, model.log_parameters)
    queries = draw(50, seed=1)
    # two factorisations in float64 of a matrix whose condition number is up to (amplitude / noise)² · count
    np.testing.assert_allclose(surrogate.means(model, queries), process.predict(queries), rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        surrogate.means_where_fitted(model), process.predict(points.astype(float)), rtol=0, atol=1e-6
    )


def test_drawn_functions_have_the_posteriors_mean_and_covariance():
    points, scores, model = fitted(noise=0.1)
    queries, count = draw(6, seed=2), 4_000
    mean, covariance = oracle(points, scores, model.log_parameters).predict(queries, return_cov=True)
    drawn = surrogate.samples(model, queries, jax.random.key(0), count)
    variances = np.diag(covariance)
    assert drawn.shape == (count, 6)
    # z-tests: a mean has variance σ²/n, a covariance (σᵢ²σⱼ² + σᵢⱼ²)/n; the jitter adds 1e-6 to each variance
    assert variances.min() > 1e-4
    assert np.abs((drawn.mean(axis=0) - mean) / np.sqrt(variances / count)).max() < 4.5
    errors = np.sqrt((np.outer(variances, variances) + covariance**2) / count)
    assert np.abs((np.cov(drawn.T) - covariance) / errors).max() < 4.5


def test_drawn_functions_depend_on_the_key():
    model, queries = fitted()[2], draw(6, seed=2)
    first, second = (surrogate.samples(model, queries, jax.random.key(seed), 4_000) for seed in (0, 1))
    assert not np.isin(first, second).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_minus_the_log_posterior_and_has_its_gradient(seed):
    points, scores, model = fitted(noise=0.1)
    prior, _ = surrogate._prior(DIMENSIONS)
    rng = np.random.default_rng(seed)

    def parameters():
        return prior[0] + np.where(
            np.arange(len(prior[0])) < 2 + DIMENSIONS, rng.normal(size=len(prior[0])), 0
        )

    def loss(log_parameters):
        with jax.enable_x64(True):
            return surrogate._loss(log_parameters, model.points, model.values, model.noise, prior)

    first, second = parameters(), parameters()
    expected = log_posterior(points, scores, second) - log_posterior(points, scores, first)
    # the places that hold no point change it by amplitude² / 1e8 each
    np.testing.assert_allclose(loss(first)[0] - loss(second)[0], expected, rtol=1e-6, atol=1e-5)
    step = 1e-5 * np.eye(len(first))
    differences = [float(loss(first + row)[0] - loss(first - row)[0]) / 2e-5 for row in step]
    np.testing.assert_allclose(loss(first)[1], differences, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("count", "noise"), [(20, 0.0), (20, 0.1)])
def test_no_parameters_nearby_are_more_probable_than_the_fitted_ones(count, noise):
    points, scores, model = fitted(count, noise=noise)
    best = log_posterior(points, scores, model.log_parameters)
    for place in range(2 + DIMENSIONS):
        for step in (-0.3, 0.3):
            moved = model.log_parameters + step * (np.arange(len(model.log_parameters)) == place)
            assert log_posterior(points, scores, moved) < best + 0.01


def test_the_length_scales_tell_a_steep_axis_from_a_flat_one():
    lengths = fitted()[2].length_scales
    assert lengths.shape == (DIMENSIONS,)
    assert lengths[1] < lengths[0] < lengths[2]


def test_noise_is_told_from_the_function():
    quiet, loud = (np.exp(fitted(40, noise=noise)[2].log_parameters[1]) for noise in (0.0, 0.5))
    assert quiet < 0.05
    assert loud > 0.2


@pytest.mark.parametrize("seed", range(3))
def test_the_lowest_mean_is_lower_than_on_a_grid_of_the_box(seed):
    model = fitted(seed=seed)[2]
    low, high = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.9, 0.6])
    fractions = np.stack(np.meshgrid(*[np.linspace(0, 1, 8)] * 3), axis=-1).reshape(-1, 3)
    grid = low + fractions * (high - low)
    means = surrogate.means(model, grid)
    found = surrogate.lowest_mean(model, grid[np.argmin(means)], low, high)
    assert (low <= found).all()
    assert (found <= high).all()
    assert surrogate.means(model, np.tile(found, (len(grid), 1)))[0] <= means.min() + 1e-9


SCORES = np.exp(np.random.default_rng(0).normal(size=30))


def test_scores_are_compressed_as_the_formula_says():
    logarithms = np.arange(5.0)  # of which the first quartile is 1
    expected = np.arcsinh(logarithms)
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(surrogate.compressed(np.exp(logarithms)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "changed", [7 * SCORES, SCORES / 1e9, SCORES**3, np.sqrt(SCORES)], ids=["7y", "1e-9 y", "y³", "√y"]
)
def test_positive_scores_may_be_multiplied_and_raised_to_a_power(changed):
    np.testing.assert_allclose(surrogate.compressed(changed), surrogate.compressed(SCORES), atol=1e-12)


def test_scores_that_are_not_all_positive_may_be_multiplied_and_shifted():
    scores = SCORES - 2.0
    expected = surrogate.compressed(scores)
    np.testing.assert_allclose(surrogate.compressed(3 * scores - 5), expected, atol=1e-12)
    np.testing.assert_allclose(surrogate.compressed(scores - scores.min()), expected, atol=1e-12)


def test_compressed_scores_are_in_the_same_order_with_mean_0_and_deviation_1():
    values = surrogate.compressed(SCORES)
    np.testing.assert_array_equal(np.argsort(values), np.argsort(SCORES))
    np.testing.assert_allclose([values.mean(), values.std()], [0, 1], atol=1e-12)


def test_diverged_runs_count_as_the_worst_of_the_others():
    scores = np.where(np.arange(30) % 3 == 0, np.inf, SCORES)
    worst = np.where(np.isinf(scores), SCORES[np.isfinite(scores)].max(), SCORES)
    np.testing.assert_array_equal(surrogate.compressed(scores), surrogate.compressed(worst))


@pytest.mark.parametrize("score", [0.0, 0.3, -1.0, np.inf])
def test_equal_scores_are_compressed_to_zero_and_fitted(score):
    scores = np.full(12, score)
    assert surrogate.compressed(scores).tolist() == [0.0] * 12
    model = surrogate.fit(draw(12, seed=0), scores)
    np.testing.assert_allclose(surrogate.means(model, draw(50, seed=1)), 0, atol=1e-12)


def test_scores_of_which_most_tie_for_the_best_stay_finite():
    values = surrogate.compressed(np.array([0.0] * 9 + [1.0, 2.0]))
    assert np.isfinite(values).all()
    assert values[0] < values[9] < values[10]
