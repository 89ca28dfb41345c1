"""Resamples of clusters, such as the runs of a candidate or the copies of an image: all or none."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.study.statistics.resampled import percentile_estimate, resamples_of
from schedules.search import Estimate


def cluster_resamples(clusters: Int[np.ndarray, "rows"]) -> list[Int[np.ndarray, "drawn"]]:
    """The rows of 1,000 bootstrap resamples of the clusters that rows belong to; the same in every call."""
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
    return [np.concatenate([members[place] for place in draw]) for draw in resamples_of(len(members))]


class ClusteredShares(NamedTuple):
    """Shares, such as of misclassified images, whose examples are drawn by cluster.

    However many copies of an image there are, the interval is no narrower than one of as many images.

    Attributes:
      counts: of each cluster, how many examples are of the share; a row for each share.
      totals: out of how many.

    >>> shares = ClusteredShares(np.array([[1.0, 3.0], [0.0, 8.0]]), np.array([[8.0, 8.0]]))
    >>> shares.values, shares.resampled.shape
    (array([0.25, 0.5 ]), (1000, 2))
    """

    counts: Float[np.ndarray, "*shares clusters"]
    totals: Float[np.ndarray, "*#shares clusters"]

    @property
    def values(self) -> Float[np.ndarray, "*shares"]:
        return np.sum(self.counts, axis=-1) / np.sum(self.totals, axis=-1)

    @property
    def resampled(self) -> Float[np.ndarray, "resamples *shares"]:
        """The same of 1,000 bootstrap resamples of the clusters, equal ones for all with as many clusters."""
        clusters = self.counts.shape[-1]
        weights = np.array([np.bincount(draw, minlength=clusters) for draw in resamples_of(clusters)])
        counts, totals = (np.moveaxis(x @ weights.T, -1, 0) for x in self)
        return counts / totals

    def estimate(self, confidence: float) -> Estimate:
        """Of a single share, with its percentile interval."""
        return percentile_estimate(self.values, self.resampled, confidence)

    def lead(self, other: "ClusteredShares", confidence: float) -> Estimate:
        """How far a single share lies above another, paired by cluster."""
        return percentile_estimate(self.values - other.values, self.resampled - other.resampled, confidence)
