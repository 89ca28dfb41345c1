"""Intervals of a critical batch, against the linearised least squares and what replicates share."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.study.statistics.batch_law import replicated_fit
from experiments.study.statistics.resampled import outward_estimate, resamples_of
from geometry import HYPERBOLA, INVERSE, BatchLaw
from schedules.search.scoring import expanded_confidence

BATCH_SIZES = 2 ** np.arange(3, 11)
LAW = BatchLaw(HYPERBOLA, 50.0, 60.0)
NOISE = 0.1


def test_the_spread_over_resamples_is_that_of_linearised_least_squares():
    replicates = 40
    noise = NOISE * np.random.default_rng(0).normal(size=(replicates, len(BATCH_SIZES)))
    found = replicated_fit(HYPERBOLA, BATCH_SIZES, LAW.steps(BATCH_SIZES) * np.exp(noise), 1e9)
    # log S = log S_min + log(1 + scale/b): its derivatives by log S_min and by log scale
    derivatives = np.stack([np.ones(len(BATCH_SIZES)), 60 / (BATCH_SIZES + 60)], axis=1)
    deviation = NOISE * np.sqrt(np.linalg.inv(derivatives.T @ derivatives)[1, 1] / replicates)
    resampled = np.log(found.resampled.critical_batch)
    np.testing.assert_allclose(np.std(resampled), deviation, rtol=0.15)
    assert abs(np.log(found.fit.critical_batch / 60)) < 3 * deviation
    estimate = found.critical_batch.estimate(0.95)
    assert estimate.value == found.fit.critical_batch
    np.testing.assert_allclose(np.log(estimate.high / estimate.low) / 2, 1.96 * deviation, rtol=0.15)


def test_seeds_that_are_slow_at_every_batch_size_leave_the_critical_batch_sure():
    slowness = np.exp(np.random.default_rng(0).normal(size=(6, 1)))
    found = replicated_fit(HYPERBOLA, BATCH_SIZES, slowness * LAW.steps(BATCH_SIZES)[None], 1e9)
    estimate = found.critical_batch.estimate(0.95)
    np.testing.assert_allclose([estimate.low, estimate.high], 60, rtol=1e-5)
    assert np.std(np.log(found.resampled.law.min_steps)) > 0.1


def test_what_half_of_the_seeds_reach_at_one_batch_size_alone_has_no_bounds():
    law = BatchLaw(INVERSE, 50.0, 60.0)
    steps = np.tile(law.steps(BATCH_SIZES), (4, 1))
    steps[:2, :-1] = math.inf
    estimate = replicated_fit(INVERSE, BATCH_SIZES, steps, 60.0).critical_batch.estimate(0.95)
    assert (estimate.low, estimate.high) == (0, math.inf)  # one resample in sixteen is of those seeds alone


def test_an_interval_ends_at_resampled_values_outwards():
    resampled = np.random.default_rng(0).permutation(np.arange(10.0))  # quartiles 2.25 and 6.75
    assert outward_estimate(4.0, resampled, 0.5) == (4, 2, 7)
    resampled[resampled > 6] = math.inf
    assert outward_estimate(4.0, resampled, 0.5) == (4, 2, math.inf)


@pytest.mark.parametrize("replicates", [8, 12, 16])
def test_a_positive_estimate_of_few_replicates_holds_as_often_as_it_says(replicates):
    """z-test at the simulation's error, of a geometric mean: to first order in the noise, what a critical
    batch is."""
    simulations, confidence = 400, expanded_confidence(0.95, replicates)
    logs = np.random.default_rng(0).normal(size=(simulations, replicates))
    draws = resamples_of(replicates)
    estimates = [
        outward_estimate(np.exp(row.mean()), np.exp(row[draws].mean(axis=1)), confidence) for row in logs
    ]
    covered = np.mean([estimate.low <= 1 <= estimate.high for estimate in estimates])
    assert (covered - 0.95) / math.sqrt(0.95 * 0.05 / simulations) > -2.33


def test_a_critical_batch_of_few_replicates_has_expanded_percentiles():
    noise = NOISE * np.random.default_rng(0).normal(size=(8, len(BATCH_SIZES)))
    found = replicated_fit(HYPERBOLA, BATCH_SIZES, LAW.steps(BATCH_SIZES) * np.exp(noise), 1e9)
    estimate = found.critical_batch.estimate(0.95)
    tail = stats.norm.cdf(math.sqrt(8 / 7) * stats.t.ppf(0.025, 7))  # 0.6 % of the resamples
    misses = [np.mean(found.resampled.critical_batch < estimate.low)]
    misses.append(np.mean(found.resampled.critical_batch > estimate.high))
    np.testing.assert_allclose(misses, tail, atol=1e-3)


def test_one_replicate_has_no_interval():
    with pytest.raises(ValueError, match="steps must hold at least two replicates, got 1"):
        replicated_fit(HYPERBOLA, BATCH_SIZES, LAW.steps(BATCH_SIZES)[None], 1e9)
