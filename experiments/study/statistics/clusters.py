"""Resamples of clusters, such as the runs of a candidate or the copies of an image: all or none."""

import numpy as np
from jaxtyping import Float, Int

from experiments.study.statistics.resampled import percentile_estimate, resamples_of
from schedules.search import Estimate


def cluster_resamples(clusters: Int[np.ndarray, "rows"]) -> list[Int[np.ndarray, "drawn"]]:
    """The rows of 1,000 bootstrap resamples of the clusters that rows belong to; the same in every call."""
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
    return [np.concatenate([members[place] for place in draw]) for draw in resamples_of(len(members))]


def clustered_mean(
    values: Float[np.ndarray, "rows"], clusters: Int[np.ndarray, "rows"], confidence: float
) -> Estimate:
    """The mean over all rows, with the percentile interval of resampled clusters.

    However many copies of an image there are, the interval is no narrower than one of as many images.
    """
    _, places = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(places, values), np.bincount(places)
    draws = resamples_of(len(counts))
    means = np.sum(sums[draws], axis=1) / np.sum(counts[draws], axis=1)
    return percentile_estimate(np.mean(values), means, confidence)
