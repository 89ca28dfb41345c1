"""How well predictors rank what was measured, and intervals for such numbers."""

import numpy as np
from jaxtyping import Float
from scipy import stats

from schedules.search import Estimate


def rank_correlations(
    predictions: Float[np.ndarray, "predictors runs"], measured: Float[np.ndarray, "runs"]
) -> Float[np.ndarray, "predictors"]:
    """Spearman's rank correlation of every predictor with what was measured; zero for a constant.

    >>> rank_correlations(np.array([[1.0, 4.0, 9.0], [1.0, 1.0, 1.0]]), np.array([0.1, 0.2, 0.3]))
    array([1., 0.])
    """
    ranks = stats.rankdata(np.vstack([predictions, measured[None, :]]), axis=1)
    centred = ranks - (len(measured) + 1) / 2
    lengths = np.linalg.norm(centred, axis=1)
    products = lengths[:-1] * lengths[-1]
    return centred[:-1] @ centred[-1] / np.where(products > 0, products, 1)


def percentile_estimate(
    value: float, resampled: Float[np.ndarray, "resamples"], confidence: float
) -> Estimate:
    """A value with the percentile interval of its resampled values.

    Of a rank correlation over eight runs and more it holds the true one as often as it says. Of means over
    few replicates it does not: ask for that of `schedules.search.scoring.expanded_confidence`.
    """
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high))
