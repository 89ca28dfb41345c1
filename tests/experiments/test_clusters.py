"""Resamples of clusters: copies add nothing, and intervals hold the mean as often as they say."""

import numpy as np
import pytest

from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.statistics.resampled import cluster_resamples, percentile_estimate, resamples_of


def test_a_resample_holds_whole_clusters():
    clusters = np.array([7, 3, 7, 3, 3, 9])
    for rows in cluster_resamples(clusters)[:20]:
        counts = np.bincount(rows, minlength=6)
        for cluster in (3, 7, 9):
            assert len(set(counts[clusters == cluster])) == 1


def clustered_mean(values, clusters, confidence):
    """The mean over rows, as a share of them."""
    _, places = np.unique(clusters, return_inverse=True)
    return ClusteredShares(np.bincount(places, values), np.bincount(places)).estimate(confidence)


def test_copies_of_the_same_images_do_not_narrow_the_interval():
    values, clusters = np.random.default_rng(0).uniform(size=50), np.arange(50)
    single = clustered_mean(values, clusters, 0.9)
    assert clustered_mean(np.repeat(values, 40), np.repeat(clusters, 40), 0.9) == pytest.approx(single)
    assert single == pytest.approx(
        percentile_estimate(values.mean(), values[resamples_of(50)].mean(axis=1), 0.9)
    )


def test_clusters_of_different_sizes_weigh_by_their_rows():
    values, clusters = np.array([1.0, 1.0, 1.0, 0.0]), np.array([5, 5, 5, 2])
    rows = cluster_resamples(clusters)
    expected = percentile_estimate(0.75, np.array([values[draw].mean() for draw in rows]), 0.9)
    assert clustered_mean(values, clusters, 0.9) == pytest.approx(expected)


def test_the_interval_holds_the_mean_of_correlated_copies_about_as_often_as_it_says():
    """z-test at the simulation's error; that of independent rows would hold it in half of the cases."""
    rng, simulations, images, copies = np.random.default_rng(1), 200, 60, 10
    clusters, covered = np.repeat(np.arange(images), copies), 0
    for _ in range(simulations):
        values = np.repeat(rng.normal(size=images), copies) + 0.3 * rng.normal(size=images * copies)
        estimate = clustered_mean(values, clusters, 0.9)
        covered += estimate.low <= 0 <= estimate.high
    assert (covered / simulations - 0.9) / np.sqrt(0.9 * 0.1 / simulations) > -2.33


def test_shares_of_clusters_are_those_of_their_rows_in_every_resample():
    rng = np.random.default_rng(3)
    clusters, wrong = rng.integers(5, size=40), rng.integers(2, size=(2, 40)).astype(float)
    clusters[:5] = np.arange(5)
    counts = np.array([np.bincount(clusters, row, minlength=5) for row in wrong])
    shares = ClusteredShares(counts, np.bincount(clusters)[None])
    assert shares.values == pytest.approx(wrong.mean(axis=1))
    drawn = [wrong[:, rows].mean(axis=1) for rows in cluster_resamples(clusters)]
    assert shares.resampled == pytest.approx(np.array(drawn))
