"""Fractions with their intervals: of runs, such as of those that came to something, and of examples that come
in clusters, such as the copies of an image."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.study.statistics.resampled import percentile_estimate, resamples_of
from schedules.search import Estimate


def fraction_estimate(successes: int, trials: int, confidence: float) -> Estimate:
    """A fraction with its exact binomial interval (Clopper and Pearson).

    >>> [round(x, 3) for x in fraction_estimate(20, 20, 0.95)]
    [1.0, 0.832, 1.0]
    """
    interval = stats.binomtest(successes, trials).proportion_ci(confidence)
    return Estimate(successes / trials, float(interval.low), float(interval.high))


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
