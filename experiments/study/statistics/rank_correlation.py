"""How well predictors rank what was measured, and intervals for such numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from experiments.study.statistics.resampled import percentile_estimate
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


class Correlations(NamedTuple):
    """Each predictor's correlation with what was measured, and what resampled runs make of it.

    Attributes:
      names: of the predictors.
      values: the correlation of each.
      resampled: the same of each resample of the runs.
      confidence: the level of intervals.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "predictors"]
    resampled: Float[np.ndarray, "resamples predictors"]
    confidence: float

    @property
    def best_first(self) -> list[str]:
        """The names, the highest correlation first."""
        return [self.names[place] for place in np.argsort(-self.values, kind="stable")]

    def estimate(self, name: str) -> Estimate:
        """A predictor's correlation with its percentile interval."""
        place = self.names.index(name)
        return percentile_estimate(self.values[place], self.resampled[:, place], self.confidence)

    def lead(self, name: str, other: str) -> Estimate:
        """How far one correlation lies above another, paired by resample."""
        first, second = self.names.index(name), self.names.index(other)
        leads = self.resampled[:, first] - self.resampled[:, second]
        return percentile_estimate(self.values[first] - self.values[second], leads, self.confidence)


def correlations(
    predictions: Mapping[str, Float[np.ndarray, "runs"]],
    measured: Float[np.ndarray, "runs"],
    rows: Int[np.ndarray, "chosen"],
    draws: Sequence[Int[np.ndarray, "drawn"]],
    confidence: float,
) -> Correlations:
    """The rank correlations over some rows of the runs, and over each draw of them."""
    table = np.stack(list(predictions.values()))
    values, *resampled = [rank_correlations(table[:, sample], measured[sample]) for sample in (rows, *draws)]
    return Correlations(tuple(predictions), values, np.stack(resampled), confidence)
