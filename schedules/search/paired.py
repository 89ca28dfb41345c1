"""Comparisons over paired replicates: what the seeds share cancels before any median is taken."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from schedules.search.scoring import Estimate


def paired_ratios(
    scores: Float[np.ndarray, "*candidates replicates"], reference: Float[np.ndarray, "replicates"]
) -> Float[np.ndarray, "*candidates replicates"]:
    """scores / reference, 1 where both are zero or both diverged. Raises ValueError for NaN."""
    scores, reference = np.asarray(scores, np.float64), np.asarray(reference, np.float64)
    if np.isnan(scores).any() or np.isnan(reference).any():
        raise ValueError("scores must be numbers or +inf where a run diverged, got NaN")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = scores / reference
    return np.where(np.isnan(ratios), 1.0, ratios)


def paired_change(
    scores: Float[np.ndarray, "replicates"], reference: Float[np.ndarray, "replicates"], confidence: float
) -> Estimate:
    """The median of scores / reference - 1 over the replicates, with the interval of the sign test.

    From the k-th smallest to the k-th largest of n it covers the median of any distribution with probability
    1 - 2 P(Binomial(n, ½) < k); k is the largest for which that reaches `confidence`, and where there is none
    the interval is infinite. Two diverged runs, or two scores of zero, count as equal.

    Raises ValueError for NaN.

    >>> paired_change(np.array([0.9, 1.8, 0.4]), np.array([1.0, 2.0, 0.5]), confidence=0.7)
    Estimate(value=-0.09999999999999998, low=-0.19999999999999996, high=-0.09999999999999998)
    """
    changes = np.sort(paired_ratios(scores, reference)) - 1
    rank = int(np.sum(2 * stats.binom.cdf(np.arange(len(changes)), len(changes), 0.5) <= 1 - confidence))
    low, high = (changes[rank - 1], changes[-rank]) if rank > 0 else (-math.inf, math.inf)
    return Estimate(float(np.median(changes)), float(low), float(high))


def least_replicates(confidence: float) -> int:
    """The fewest replicates for which `paired_change` has a finite interval: 1 - 2^(1-n) ≥ confidence.

    >>> least_replicates(0.95)
    6
    """
    return math.ceil(1 - math.log2(1 - confidence))


class RelativeScores(NamedTuple):
    """Scores of candidates that ran with the same seeds, without what the seeds share.

    Attributes:
      logs: of each candidate, the median over replicates of log(score / the seed's typical score); +inf where
        it diverged.
      variances: of each of those medians, by the spread over the replicates; NaN where that is unknown.
    """

    logs: Float[np.ndarray, "candidates"]
    variances: Float[np.ndarray, "candidates"]


def relative_scores(scores: Float[np.ndarray, "candidates replicates"]) -> RelativeScores:
    """A seed's typical score is the median over the candidates that did not diverge with it.

    The variance of a median is taken as π/2 times that of a mean, its value for many normal replicates.
    """
    replicates = scores.shape[1]
    with np.errstate(divide="ignore"):
        logs = np.log(scores)
    finite = np.isfinite(logs)
    typical = [np.median(of[ok]) if ok.any() else 0.0 for of, ok in zip(logs.T, finite.T, strict=True)]
    logs = logs - typical
    variances = np.full(len(scores), np.nan)
    known = finite.all(axis=1) & (replicates > 1)
    if known.any():
        variances[known] = np.pi / 2 * np.var(logs[known], axis=1, ddof=1) / replicates
    return RelativeScores(np.median(logs, axis=1), variances)
