"""Comparisons over paired replicates: what the seeds share cancels before any median is taken."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from schedules.search.scale import Scale, as_scores
from schedules.search.scoring import Estimate, between_order_statistics


def paired_change(
    scores: Float[np.ndarray, "replicates"],
    reference: Float[np.ndarray, "replicates"],
    confidence: float,
    scale: Scale | None = None,
) -> Estimate:
    """The median over the replicates of the change from the reference, with the interval of the sign test.

    The change is score / reference - 1 on the RELATIVE scale, score - reference on the ABSOLUTE one; where
    none is given it is the `Scale.of` these scores. Two diverged runs, or two scores of zero, count as
    equal. The interval is that of `between_order_statistics`: infinite for fewer than
    `least_replicates(confidence)` replicates.

    Raises ValueError for NaN and -inf.

    >>> paired_change(np.array([0.9, 1.8, 0.4]), np.array([1.0, 2.0, 0.5]), confidence=0.7)
    Estimate(value=-0.09999999999999998, low=-0.19999999999999996, high=-0.09999999999999998)
    >>> paired_change(np.array([-3.0, 1.0, 0.0]), np.array([-2.0, 2.0, 0.5]), confidence=0.7)
    Estimate(value=-1.0, low=-1.0, high=-0.5)
    """
    scores, reference = as_scores(scores), as_scores(reference)
    scale = scale or Scale.of(scores, reference)
    return between_order_statistics(scale.changes(scores, reference), confidence)


class RelativeScores(NamedTuple):
    """Scores of candidates that ran with the same seeds, without what the seeds share.

    Attributes:
      levels: of each candidate, the median over replicates of its level above the seed's typical one; +inf
        where it diverged. A level is the logarithm of a score, or on the ABSOLUTE scale the score.
      variances: of each of those medians, by the spread over the replicates; NaN where that is unknown.
    """

    levels: Float[np.ndarray, "candidates"]
    variances: Float[np.ndarray, "candidates"]


def relative_scores(scores: Float[np.ndarray, "candidates replicates"], scale: Scale) -> RelativeScores:
    """A seed's typical level is the median over the candidates that did not diverge with it.

    The variance of a median is taken as π/2 times that of a mean, its value for many normal replicates.
    """
    replicates = scores.shape[1]
    levels = scale.levels(scores)
    finite = np.isfinite(levels)
    typical = [
        np.median(column[ok]) if ok.any() else 0.0 for column, ok in zip(levels.T, finite.T, strict=True)
    ]
    levels = levels - typical
    variances = np.full(len(scores), np.nan)
    known = finite.all(axis=1) & (replicates > 1)
    if known.any():
        variances[known] = np.pi / 2 * np.var(levels[known], axis=1, ddof=1) / replicates
    return RelativeScores(np.median(levels, axis=1), variances)
