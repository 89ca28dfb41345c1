"""The model of curves against Gaussian-process regression over single runs, written from its formula."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from schedules.search import blas, curve_fit
from schedules.search.curve_model import CurveModel
from schedules.search.curve_runs import Runs
from tests.schedules.dense_process import (
    Truth,
    height_slope,
    heights_of,
    posterior,
    run_covariance,
    segment_logarithms,
    values_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DESIGNS = {  # which curve ran with which seed
    "once each, in batches": [(curve, f"batch {curve // 4}") for curve in range(12)],
    "all with all seeds": list(itertools.product(range(6), range(3))),
    "a winner in every round": [
        *((0, f"confirm {seed}") for seed in range(5)),
        *(
            (curve, f"{part} {seed}")
            for part in (0, 1)
            for curve in (0, 2 * part + 1, 2 * part + 2)
            for seed in (0, 1)
        ),
    ],
    "unequally often": [*zip((0, 0, 0, 1, 1, 1, 2, 3, 3), "aababccdd", strict=True)],
}
CENTRE, SPREAD = np.array([(-0.7, 1.0), (-2.3, 1.0), (-1.9, 1.0), *[(1.1, 0.6)] * 10]).T  # of the prior
COVARIANCE = np.diag(SPREAD**2)
COVARIANCE[3:, 3:] = 0.6**2 + 0.3**2 * np.eye(10)  # a length scale is what all share, and its own
PRECISION = np.linalg.inv(COVARIANCE)


def drawn_curves(count, seed):
    return np.exp(np.random.default_rng(seed).normal(-2, 0.7, (count, 20)))


@functools.cache
def fitted(design):
    """Curves, scores and seeds of the runs, with their model."""
    places, seeds = zip(*DESIGNS[design], strict=True)
    curves = drawn_curves(max(places) + 1, seed=0)[list(places)]
    luck = np.random.default_rng(1).normal(0, 0.2, len(seeds))
    scores = 0.1 * np.exp(np.log(curves[:, :10].mean(axis=1) / 0.2) ** 2 + luck)
    return curves, scores, seeds, CurveModel.fit(curves, scores, seeds)


def told(design):
    """What the oracle is told: segments, values and seeds of single runs, the fitted parameters, the unit."""
    curves, scores, seeds, model = fitted(design)
    unit_rate = np.median(curves.max(axis=1))
    values = values_of(np.log(scores) - np.log(scores).min())
    return segment_logarithms(curves, unit_rate), values, seeds, Truth(*model.parameters), unit_rate


def expected(design, curves):
    """Mean and covariance of the values of curves, and the lowest level."""
    places, values, seeds, truth, unit_rate = told(design)
    moments = posterior(places, values, seeds, segment_logarithms(curves, unit_rate), truth)
    return *moments, np.log(fitted(design)[1]).min()


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("observed", [False, True])
def test_predictions_are_those_from_all_single_runs(design, observed):
    # with means over all of a curve's seeds instead, the last two designs would lose what pairs the runs
    queries, model = drawn_curves(9, seed=2), fitted(design)[3]
    mean, covariance, lowest = expected(design, queries)
    luck = model.parameters.seed**2 + model.parameters.noise**2 if observed else 0.0
    level, sd = model.predict(queries, observed)
    np.testing.assert_allclose(model.means(queries), level, rtol=1e-12)
    np.testing.assert_allclose(level, lowest + heights_of(mean), atol=1e-6)
    spread = np.sqrt(np.diag(covariance) + luck)
    np.testing.assert_allclose(sd, height_slope(mean) * spread, rtol=1e-5)


@pytest.mark.parametrize("observed", [False, True])
def test_quantiles_of_levels_are_those_of_normal_values(observed):
    design, queries, probabilities = "all with all seeds", drawn_curves(9, seed=2), np.array([0.01, 0.5, 0.9])
    mean, covariance, lowest = expected(design, queries)
    model = fitted(design)[3]
    luck = model.parameters.seed**2 + model.parameters.noise**2 if observed else 0.0
    values = mean + norm.ppf(probabilities)[:, None] * np.sqrt(np.diag(covariance) + luck)
    levels = model.quantiles(queries, probabilities, observed)
    np.testing.assert_allclose(levels, lowest + heights_of(values), rtol=1e-5, atol=1e-6)


def test_of_scores_to_maximise_low_quantiles_are_bad():
    curves, scores, seeds, model = fitted("all with all seeds")
    queries, probabilities = drawn_curves(9, seed=2), np.array([0.1, 0.5, 0.9])
    mirrored = CurveModel.fit(curves, 1 / scores, seeds, maximize=True).quantiles(queries, probabilities)
    np.testing.assert_allclose(mirrored, -model.quantiles(queries, 1 - probabilities), atol=1e-9)


@pytest.mark.parametrize(("design", "count"), [("a winner in every round", 7), ("all with all seeds", 6)])
def test_runs_are_one_mean_where_the_same_curves_ran_with_their_seeds(design, count):
    assert len(fitted(design)[3].runs.values) == count


def test_drawn_functions_have_the_posteriors_mean_and_covariance():
    queries, count, design = drawn_curves(6, seed=3), 4_000, "once each, in batches"
    mean, covariance, lowest = expected(design, queries)
    drawn = values_of(fitted(design)[3].sample(queries, jax.random.key(0), count) - lowest)
    variances = np.diag(covariance)
    assert drawn.shape == (count, 6)
    # z-tests: a mean has variance σ²/n, a covariance (σᵢ²σⱼ² + σᵢⱼ²)/n
    assert np.abs((drawn.mean(axis=0) - mean) / np.sqrt(variances / count)).max() < 4.5
    errors = np.sqrt((np.outer(variances, variances) + covariance**2) / count)
    assert np.abs((np.cov(drawn.T) - covariance) / errors).max() < 4.5


def test_drawn_functions_depend_on_the_key():
    queries, model = drawn_curves(6, seed=3), fitted("once each, in batches")[3]
    first, second = (model.sample(queries, jax.random.key(seed), 50) for seed in (0, 1))
    assert not np.isin(first, second).any()


@pytest.mark.parametrize("count", [1, blas.STRIP, 2 * blas.STRIP + 7])
def test_the_factor_that_is_made_in_strips_is_that_of_the_whole_covariance(count):
    places, seeds = segment_logarithms(drawn_curves(count, seed=0), 0.2), [run // 5 for run in range(count)]
    runs = Runs.of(places, np.zeros(count), seeds)
    truth = Truth(0.4, 0.1, 0.15, np.linspace(2, 4, 10))
    root = curve_fit.Parameters(*truth).root(runs)
    assert np.array_equal(root, np.tril(root))
    np.testing.assert_allclose(root @ root.T, run_covariance(places, seeds, truth), rtol=1e-9)


def test_of_no_curves_nothing_is_predicted():
    rates = np.geomspace(0.01, 1, 12)
    model = CurveModel.fit(np.tile(rates[:, None], 20), np.log(rates / 0.1) ** 2 + 0.1, [0] * 12)
    mean, sd = model.predict(np.empty((0, 20)))
    assert [*mean, *sd, *model.means(np.empty((0, 20)))] == []


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_minus_the_log_posterior_of_the_parameters(seed):
    places, values, seeds, *_ = told("once each, in batches")  # no means: what it is fitted to is single runs
    runs = Runs.of(places, values, seeds)

    def log_posterior(logarithms):
        amplitude, luck, noise, *lengths = np.exp(logarithms)
        covariance = run_covariance(places, seeds, Truth(amplitude, luck, noise, np.array(lengths)))
        prior = multivariate_normal(CENTRE, COVARIANCE).logpdf(logarithms)
        return multivariate_normal(cov=covariance).logpdf(values) + prior

    first, second = CENTRE + SPREAD * np.random.default_rng(seed).normal(size=(2, 13))
    losses = [
        curve_fit.minus_log_posterior(parameters, runs, CENTRE, PRECISION)[0]
        for parameters in (first, second)
    ]
    np.testing.assert_allclose(losses[0] - losses[1], log_posterior(second) - log_posterior(first), rtol=1e-6)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_loss_has_its_gradient(design):
    runs = fitted(design)[3].runs
    parameters = CENTRE + SPREAD * np.random.default_rng(0).normal(size=13)

    def loss(logarithms):
        return curve_fit.minus_log_posterior(logarithms, runs, CENTRE, PRECISION)

    step = 1e-5 * np.eye(13)
    differences = [(loss(parameters + row)[0] - loss(parameters - row)[0]) / 2e-5 for row in step]
    np.testing.assert_allclose(loss(parameters)[1], differences, rtol=1e-6, atol=1e-6)


def test_no_parameters_nearby_are_more_probable_than_the_fitted_ones():
    model = fitted("once each, in batches")[3]
    best = np.log([*model.parameters[:3], *model.parameters.lengths])
    lowest, _ = curve_fit.minus_log_posterior(best, model.runs, CENTRE, PRECISION)
    for row in 0.1 * np.concatenate([np.eye(13), -np.eye(13)]):
        assert curve_fit.minus_log_posterior(best + row, model.runs, CENTRE, PRECISION)[0] > lowest


def scaled(curve, segment, factor):
    """The curve with a tenth of its steps multiplied."""
    factors = np.ones((10, 2))
    factors[segment] = factor
    return curve * factors.ravel()


def test_the_sensitivity_is_the_slope_of_predictions_in_the_logarithm_of_a_segment():
    design, curve, step = "a winner in every round", drawn_curves(1, seed=4)[0], 1e-4
    slopes, _ = fitted(design)[3].sensitivity(curve)
    pairs = [[scaled(curve, place, np.exp(sign * step)) for sign in (1, -1)] for place in range(10)]
    levels = fitted(design)[3].predict(np.concatenate(pairs))[0].reshape(10, 2)
    np.testing.assert_allclose(slopes, (levels[:, 0] - levels[:, 1]) / (2 * step), rtol=1e-5, atol=1e-7)


def test_the_sensitivitys_deviation_is_that_of_differences_under_the_posterior():
    design, curve, step = "all with all seeds", drawn_curves(1, seed=4)[0], 1e-3
    _, deviations = fitted(design)[3].sensitivity(curve)
    value = expected(design, curve[None])[0]
    for place in range(10):
        pair = np.stack([scaled(curve, place, np.exp(sign * step)) for sign in (1, -1)])
        covariance = expected(design, pair)[1]
        variance = covariance[0, 0] - 2 * covariance[0, 1] + covariance[1, 1]
        np.testing.assert_allclose(
            deviations[place], height_slope(value[0]) * np.sqrt(variance) / (2 * step), rtol=1e-3
        )
