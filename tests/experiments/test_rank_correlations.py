"""Rank correlations against SciPy, and intervals that respect which runs belong together."""

import numpy as np
import pytest
from scipy import stats

from experiments.generalization.gaps import Gaps, rankings
from experiments.study.statistics.resampled import correlations, percentile_estimate, rank_correlations


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr("experiments.study.statistics.resampled.RESAMPLES", 100)


def made_up_runs():
    rng = np.random.default_rng(0)
    predictions = rng.integers(0, 6, (3, 24)).astype(float)  # with ties
    sizes, clusters = np.repeat([100, 200], 12), np.tile(np.arange(6), 4)
    return predictions, predictions[0] + rng.integers(0, 4, 24), sizes, clusters


def ranked(predictions, gaps, sizes, clusters):
    """The rankings of predictors that are called by their numbers."""
    return rankings(Gaps(gaps, sizes, clusters, dict(enumerate(predictions))), 0.9)


def test_rank_correlations_are_scipys_with_ties():
    predictions, gaps, *_ = made_up_runs()
    expected = [stats.spearmanr(row, gaps).statistic for row in predictions]
    np.testing.assert_allclose(rank_correlations(predictions, gaps), expected, rtol=1e-12)


def test_at_equal_size_the_size_explains_nothing(few_resamples):
    _, _, sizes, clusters = made_up_runs()
    ranks = np.tile(np.arange(12.0), 2)
    predictions = np.stack([1 / sizes, -ranks + 100.0 / sizes])
    found = ranked(predictions, ranks + 1e6 / sizes, sizes, clusters)
    assert list(found.by_size) == [100, 200]
    for correlation in (*found.by_size.values(), found.equal_size):
        np.testing.assert_allclose(correlation.values, [0, -1], atol=1e-12)
    assert found.overall.values[0] > 0.8


def test_more_seeds_of_the_same_candidates_that_say_the_same_do_not_narrow_the_intervals(few_resamples):
    runs = made_up_runs()
    single, repeated = ranked(*runs), ranked(*(np.tile(x, [1] * (x.ndim - 1) + [3]) for x in runs))
    pairs = zip(
        (single.overall, *single.by_size.values(), single.equal_size),
        (repeated.overall, *repeated.by_size.values(), repeated.equal_size),
        strict=True,
    )
    for once, thrice in pairs:
        np.testing.assert_allclose(thrice.values, once.values, atol=1e-12)
        np.testing.assert_allclose(thrice.resampled, once.resampled, atol=1e-12)
    assert np.ptp(single.overall.resampled[:, 0]) > 0.2


def test_a_lead_is_paired_by_resample_and_its_interval_is_that_of_the_differences():
    measured = np.arange(12.0)
    predictions = {"noisy": measured + np.tile([3.0, -3.0, 0.0], 4), "exact": measured, "flat": 0 * measured}
    draws = np.random.default_rng(1).integers(12, size=(40, 12))
    found = correlations(predictions, measured, np.arange(12), draws, 0.9)
    assert found.best_first == ["exact", "noisy", "flat"]
    differences = [
        1 - stats.spearmanr(predictions["noisy"][draw], measured[draw]).statistic for draw in draws
    ]
    lead = found.lead("exact", "noisy")
    assert lead.value == pytest.approx(1 - stats.spearmanr(predictions["noisy"], measured).statistic)
    assert lead[1:] == pytest.approx(np.quantile(differences, [0.05, 0.95]))
    assert found.estimate("flat") == (0, 0, 0)


def test_draws_of_any_sizes_are_scipys_in_their_order():
    predictions, gaps, *_ = made_up_runs()
    rng = np.random.default_rng(2)
    draws = [rng.integers(24, size=size) for size in (9, 24, 9, 17)]
    found = correlations(dict(enumerate(predictions)), gaps, np.arange(24), draws, 0.9)
    expected = [[stats.spearmanr(row[draw], gaps[draw]).statistic for row in predictions] for draw in draws]
    np.testing.assert_allclose(found.resampled, expected, rtol=1e-12)


def test_percentile_intervals_hold_the_share_they_claim():
    estimate = percentile_estimate(0.5, np.linspace(0, 1, 1001), 0.9)
    assert estimate == pytest.approx((0.5, 0.05, 0.95))


@pytest.mark.parametrize("runs", [8, 12, 16])
def test_a_rank_correlation_lies_in_its_interval_as_often_as_it_says(runs):
    """z-test at the simulation's error; Spearman's ρ of a normal pair is (6/π) arcsin(r/2)."""
    rng, simulations, pearson = np.random.default_rng(0), 100, 0.5
    first, noise = rng.normal(size=(2, simulations, runs))
    second = pearson * first + np.sqrt(1 - pearson**2) * noise
    draws = rng.integers(runs, size=(300, runs))
    covered = 0
    for x, y in zip(first, second, strict=True):
        (value,) = rank_correlations(x[None], y)
        ranks = stats.rankdata(np.stack([x[draws], y[draws]]), axis=-1) - (runs + 1) / 2
        resampled = np.prod(ranks, axis=0).sum(-1) / np.sqrt(np.prod((ranks**2).sum(-1), axis=0))
        estimate = percentile_estimate(value, resampled, 0.95)
        covered += estimate.low <= 6 / np.pi * np.arcsin(pearson / 2) <= estimate.high
    assert (covered / simulations - 0.95) / np.sqrt(0.95 * 0.05 / simulations) > -2.33
