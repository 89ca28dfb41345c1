"""Functions drawn from the posterior, against Gaussian-process regression from its formula."""

import functools

import jax
import numpy as np
import pytest

from schedules.search.curve_functions import Functions, plausible
from schedules.search.curve_model import CurveModel
from tests.schedules.dense_process import Truth, posterior, segment_logarithms, values_of

pytestmark = pytest.mark.usefixtures("one_thread")
GENERATOR = np.random.default_rng(0)
CURVES, QUERIES = np.exp(GENERATOR.normal(-3, 1, (2, 16, 20)))
LEVELS = np.log(CURVES[:, :10].mean(axis=1)) ** 2 + GENERATOR.normal(0, 0.2, 16)
SEEDS = (np.arange(16) // 4).tolist()


@functools.cache
def model():
    return CurveModel.fit(CURVES, np.exp(LEVELS), SEEDS)


def moments(parameters):
    """Mean and covariance of the values of the queries."""
    unit = np.median(CURVES.max(axis=1))
    places = (segment_logarithms(curves, unit) for curves in (CURVES, QUERIES[:6]))
    runs, queries = places
    return posterior(runs, values_of(LEVELS - LEVELS.min()), SEEDS, queries, Truth(*parameters))


def test_functions_have_the_posteriors_mean_and_covariance():
    groups, size = 200, 20  # the functions of a group share their frequencies
    drawn = Functions.of([model()] * groups, size, jax.random.key(0))(QUERIES[:6])
    values, count = values_of(drawn - LEVELS.min()), groups * size
    mean, covariance = moments(model().parameters)
    variances = np.diag(covariance)
    assert drawn.shape == (count, 6)
    # z-tests: a mean has variance σ²/n, a covariance (σᵢ²σⱼ² + σᵢⱼ²)/n
    assert np.abs((values.mean(axis=0) - mean) / np.sqrt(variances / count)).max() < 4.5
    errors = np.sqrt((np.outer(variances, variances) + covariance**2) / count)
    assert np.abs((np.cov(values.T) - covariance) / errors).max() < 4.5


def test_a_function_is_the_same_wherever_it_is_asked():
    functions = Functions.of([model()], 3, jax.random.key(1))
    np.testing.assert_allclose(functions(QUERIES)[:, 5:7], functions(QUERIES[5:7]), rtol=1e-9)


def test_plausible_parameters_differ_and_each_has_its_own_posterior():
    models = plausible(model(), jax.random.key(2))
    lengths = np.array([drawn.parameters.lengths.mean() for drawn in models])
    assert len(set(lengths)) > 2
    for drawn in models[:3]:
        mean, _ = moments(drawn.parameters)
        expected = LEVELS.min() + np.where(mean < 0, mean, 3 * np.expm1(mean / 3))
        np.testing.assert_allclose(drawn.predict(QUERIES[:6])[0], expected, atol=1e-6)
