"""How well a noise scale measured along the runs predicts the critical batch that the runs showed."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.critical_batch_size.critical import Critical
from experiments.critical_batch_size.variants import Variant
from experiments.study.statistics.rank_correlation import rank_correlations
from experiments.study.statistics.resampled import Resampled, percentile_estimate
from geometry.noise import NOISE_GEOMETRIES
from schedules.search import Estimate

OWN = "own"
PREDICTORS = (OWN, *(geometry.name for geometry in NOISE_GEOMETRIES))


class Prediction(NamedTuple):
    """How well a predictor did over all variants with a determined critical batch; first of all seeds, then
    a row for each resample of them.

    Attributes:
      ratio: the median of critical batch over prediction.
      error: the root mean square of log2 of that ratio.
      scatter: the same around the median ratio: what is left where one factor for all is allowed.
      rank_correlation: Spearman's.
    """

    ratio: Float[np.ndarray, "rows"]
    error: Float[np.ndarray, "rows"]
    scatter: Float[np.ndarray, "rows"]
    rank_correlation: Float[np.ndarray, "rows"]

    def estimate(self, quantity: str, level: float) -> Estimate:
        """Of one of these by its name."""
        return row_estimate(getattr(self, quantity), level)


def row_estimate(values: Float[np.ndarray, "rows"], level: float) -> Estimate:
    """The first with the percentile interval of the others that are known; NaN where there are none."""
    known = values[1:][np.isfinite(values[1:])]
    if not known.size or not np.isfinite(values[0]):
        return Estimate(np.nan, np.nan, np.nan)
    return percentile_estimate(values[0], known, level)


def noise_of(variant: Variant, critical: Critical, predictor: str) -> Resampled:
    """A variant's noise scale in a geometry, or in its optimizer's own."""
    return critical.noise[variant.geometry.name if predictor == OWN else predictor]


def predictions(criticals: Mapping[Variant, Critical]) -> dict[str, Prediction]:
    """Every predictor's quality over the variants."""
    known = {variant: critical for variant, critical in criticals.items() if critical.determined}
    return {
        name: quality(
            _rows([critical.batch for critical in known.values()]),
            _rows([noise_of(variant, critical, name) for variant, critical in known.items()]),
        )
        for name in PREDICTORS
    }


def quality(
    critical: Float[np.ndarray, "rows variants"], predicted: Float[np.ndarray, "rows variants"]
) -> Prediction:
    """How well the critical batches were predicted, by row; NaN where fewer than two of a row are known."""
    rows = [_quality(*row) for row in zip(critical, predicted, strict=True)]
    return Prediction(*np.transpose(rows))


def _quality(critical: np.ndarray, predicted: np.ndarray) -> tuple[float, float, float, float]:
    known = np.isfinite(critical) & np.isfinite(predicted) & (critical > 0) & (predicted > 0)
    if known.sum() < 2:
        return (np.nan,) * 4
    logs = np.log2(critical[known] / predicted[known])
    median = np.median(logs)
    (correlation,) = rank_correlations(predicted[None, known], critical[known])
    return 2**median, _root_mean_square(logs), _root_mean_square(logs - median), correlation


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _rows(numbers: list[Resampled]) -> Float[np.ndarray, "rows variants"]:
    """All seeds' values above those of the resamples."""
    if not numbers:
        return np.empty((1, 0))
    return np.column_stack([np.concatenate([[number.value], number.draws]) for number in numbers])
