"""Medians and means with intervals, and the band around a distribution."""

import math

import numpy as np
import pytest
from scipy import stats

from schedules.search import (
    dkw_half_width,
    mean_estimate,
    median_change,
    median_difference,
    median_estimate,
)

INF = math.inf


def sample(seed, count=40):
    return np.random.default_rng(seed).normal(3.0, 1.0, count)


def test_the_interval_covers_the_median_as_often_as_it_says():
    simulations = 400
    estimates = [median_estimate(sample(seed)) for seed in range(simulations)]
    covered = sum(estimate.low <= 3.0 <= estimate.high for estimate in estimates)
    # Of 40 values, the order statistics around a 95 % interval for the median are the 15th to 26th, which
    # cover it with 91.9 %, and the 14th to 27th, with 96.2 % (binomial): a bootstrap interval lies between.
    narrow, wide = (1 - 2 * stats.binom.cdf(rank - 1, 40, 0.5) for rank in (15, 14))
    least, most = stats.binom.ppf(0.005, simulations, narrow), stats.binom.ppf(0.995, simulations, wide)
    assert least <= covered <= most


def test_the_interval_of_a_mean_is_that_of_students_t():
    for seed in range(3):
        scores = sample(seed, 400)
        t = stats.t.interval(0.95, 399, scores.mean(), stats.sem(scores))
        # a bootstrap quantile of 1,000 resamples has a standard error of 0.06 to 0.09 of the mean's
        np.testing.assert_allclose(mean_estimate(scores), (scores.mean(), *t), atol=0.3 * stats.sem(scores))


def test_the_mean_with_a_diverged_run_is_infinite():
    assert mean_estimate(np.array([1.0, 2.0, INF])).value == INF


@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_a_lower_confidence_covers_less_often(confidence):
    covered = sum(
        estimate.low <= 3.0 <= estimate.high
        for estimate in (median_estimate(sample(seed), confidence) for seed in range(200))
    )
    # one step of the rank of 40 values is up to 12.5 % of coverage, besides the simulation's noise
    noise = 2.6 * math.sqrt(confidence * (1 - confidence) / 200)
    assert abs(covered / 200 - confidence) < 0.125 + noise


@pytest.mark.parametrize("seed", range(5))
def test_the_estimate_is_the_median_inside_its_interval(seed):
    scores = sample(seed, 21)
    estimate = median_estimate(scores)
    assert estimate.value == np.sort(scores)[10]
    assert scores.min() <= estimate.low < estimate.value < estimate.high <= scores.max()


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 7.0), (3.0, 0.0), (1e-6, 0.0), (0.1, -2.0)])
def test_the_interval_moves_and_scales_with_the_scores(scale, shift):
    original, moved = median_estimate(sample(0)), median_estimate(scale * sample(0) + shift)
    np.testing.assert_allclose(moved, scale * np.array(original) + shift, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.37, INF])
def test_equal_scores_give_an_interval_without_width(value):
    assert median_estimate(np.full(9, value)) == (value, value, value)


@pytest.mark.parametrize("scores", [[0.0] * 30 + [1.0], [0.5] * 39 + [0.75], [0.5, 0.5, 0.5, 0.5]])
def test_nearly_equal_scores_give_an_interval_without_width(scores):
    # error rates of a small test set often tie; leaving one out moves no median, and a bootstrap's median
    # differs from the common value in fewer than 2.5 % of resamples only where few scores differ
    estimate = median_estimate(np.array([*scores, *scores[:2]]))
    assert estimate == (scores[0], scores[0], scores[0])


def test_a_single_score_says_nothing_of_its_spread():
    for score in (0.4, INF):
        for estimate in (median_estimate, mean_estimate):
            assert estimate(np.array([score])) == (score, -INF, INF)


def test_a_diverged_minority_moves_the_upper_end_at_most():
    scores = np.concatenate([sample(0, 19), [INF, INF]])
    estimate = median_estimate(scores)
    assert estimate.value == np.sort(scores)[10]
    assert scores.min() <= estimate.low <= estimate.value <= estimate.high < INF


def test_a_diverged_half_makes_the_upper_end_infinite():
    estimate = median_estimate(np.concatenate([sample(0, 11), np.full(10, INF)]))
    assert math.isfinite(estimate.low)
    assert math.isfinite(estimate.value)
    assert estimate.high == INF


def test_a_diverged_majority_makes_the_median_infinite():
    estimate = median_estimate(np.concatenate([sample(0, 3), np.full(18, INF)]))
    assert (estimate.value, estimate.high) == (INF, INF)


@pytest.mark.parametrize("bad", [[0.1, math.nan, 0.3], [math.nan] * 3, [0.1, -INF, 0.3]])
def test_scores_of_nan_and_minus_infinity_are_refused(bad):
    for estimate in (median_estimate, mean_estimate):
        with pytest.raises(ValueError, match="neither NaN nor -inf"):
            estimate(np.array(bad))
    for change in (median_change, median_difference):
        for pair in ((np.array(bad), np.ones(3)), (np.ones(3), np.array(bad))):
            with pytest.raises(ValueError, match="neither NaN nor -inf"):
                change(*pair)


@pytest.mark.parametrize("factor", [0.9, 0.5, 2.0])
@pytest.mark.parametrize("count", [20, 21])
def test_scaling_every_score_is_a_certain_change(factor, count):
    reference = np.abs(sample(1, count)) + 0.1
    change = median_change(factor * reference, reference)
    # the product and the quotient round, each by half an ulp
    np.testing.assert_allclose(change, [factor - 1] * 3, rtol=0, atol=1e-15)


def test_pairing_cancels_what_the_replicates_share():
    rng = np.random.default_rng(0)
    shared, noise = rng.normal(10, 2, 40), rng.normal(0, 0.01, (2, 40))
    scores, reference = 0.95 * shared + noise[0], shared + noise[1]
    paired, unpaired = median_change(scores, reference), median_change(rng.permutation(scores), reference)
    assert paired.low <= -0.05 <= paired.high
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 10


def test_the_change_of_a_diverged_median_is_infinite():
    change = median_change(np.array([1.0, INF, INF, INF, INF]), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert (change.value, change.high) == (INF, INF)


@pytest.mark.parametrize("unit", [1.0, 1e8])
def test_a_change_that_may_be_infinite_is_so_in_every_unit(unit):
    reference = unit * np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    change = median_change(np.array([1.0, 2.0, 3.0, INF, INF]) * unit, reference)
    assert change.value == 0
    assert change.high == INF


def test_a_change_from_infinity_is_nan():
    assert np.isnan(median_change(np.ones(8), np.full(8, INF))).all()


def test_a_difference_that_may_be_minus_infinite_is_so():
    """Of eight replicates of the reference three diverged: of resamples, many more."""
    reference = np.array([1.0, 2.0, 3.0, 4.0, 5.0, INF, INF, INF])
    assert median_difference(np.arange(8.0), reference).low == -INF


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_medians_that_are_not_positive_are_compared_by_their_difference(sign):
    reference = np.linspace(-1.0, 1.0, 40)
    np.testing.assert_allclose(median_change(reference + sign, reference), [sign] * 3, rtol=1e-12)


FEW_CASES = pytest.mark.parametrize("count", [6, 8, 12, 16, 29])


@FEW_CASES
def test_few_scores_are_bounded_by_the_order_statistics_of_the_binomial(count):
    """The ranks of the table in Conover (1999), A3, and the exact coverage of what lies inside them."""
    rank = {6: 1, 8: 1, 12: 3, 16: 4, 29: 9}[count]
    scores = np.random.default_rng(count).permutation(np.arange(1.0, count + 1))
    assert median_estimate(scores) == ((count + 1) / 2, rank, count + 1 - rank)
    covered = [1 - 2 * stats.binom.cdf(k - 1, count, 0.5) for k in (rank, rank + 1)]
    assert covered[1] < 0.95 <= covered[0]


def test_five_scores_bound_no_median_with_95_percent():
    assert median_estimate(np.arange(5.0)) == (2.0, -INF, INF)
    assert median_estimate(np.arange(5.0), 0.9) == (2.0, 0.0, 4.0)  # 1 - 2 / 2^5 = 93.75 %
    assert median_difference(np.arange(5.0), np.zeros(5)) == (2.0, -INF, INF)


@pytest.mark.parametrize("count", [8, 16, 30])
def test_the_change_of_a_median_lies_in_its_interval_as_often_as_it_says(count):
    """z-test at 5 %, which a coverage of 90 % fails with 95 %.

    A pair's noise is its own: what pairing cancels is the easy part.
    """
    rng, simulations = np.random.default_rng(0), 100
    estimates = [
        *(median_difference(*pair) for pair in rng.normal(size=(simulations, 2, count))),
        *(median_change(*pair) for pair in rng.lognormal(size=(simulations, 2, count))),
        *(median_change(*pair) for pair in rng.exponential(size=(simulations, 2, count))),
    ]
    covered = np.mean([estimate.low <= 0 <= estimate.high for estimate in estimates])
    assert (covered - 0.95) / math.sqrt(0.95 * 0.05 / len(estimates)) > -1.64


@pytest.mark.parametrize("count", [5, 12])
def test_the_interval_of_a_mean_of_few_normal_scores_is_about_students(count):
    """Expanded percentiles lie where Student's quantiles do, if the resamples' means are normal."""
    scores = np.random.default_rng(0).normal(size=(50, count))
    lengths = [np.ptp(mean_estimate(sample)[1:]) for sample in scores]
    students = 2 * stats.t.ppf(0.975, count - 1) * stats.sem(scores, axis=1)
    # resamples of few scores have lighter tails than normal ones
    assert 0.8 < np.median(lengths / students) < 1.05


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("count", [5, 30, 1_000])
def test_the_dkw_band_holds_the_distribution_with_its_confidence(count, confidence):
    covered = stats.kstwo.cdf(dkw_half_width(count, confidence), count)  # Kolmogorov's exact distribution
    assert covered >= confidence
    if count >= 30:
        assert covered <= confidence + (1 - confidence) / 2  # and is not much wider than it needs to be


def test_the_dkw_band_covers_simulated_distribution_functions():
    draws = np.sort(np.random.default_rng(0).random((2_000, 30)), axis=1)
    upper, lower = np.arange(1, 31) / 30 - draws, draws - np.arange(30) / 30
    distance = np.maximum(upper, lower).max(axis=1)
    covered = np.mean(distance <= dkw_half_width(30))
    assert covered >= 0.95 - 2.33 * math.sqrt(0.95 * 0.05 / 2_000)  # a binomial bound at p = 0.01
