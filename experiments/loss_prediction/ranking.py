"""How the laws and their rivals rank the unseen shapes, over all of them and among the best."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.study.statistics.rank_correlation import percentile_estimate, rank_correlations
from schedules.search import Estimate
from schedules.search.scoring import RESAMPLES

SUM = "-Σ LR"
OTHER_SEEDS = "other seeds"  # no predictor, but what noise leaves to predict


class Pool(NamedTuple):
    """What is known of the unseen shapes at their learning rates, in the same order everywhere.

    Attributes:
      chosen: the median loss over the seeds that choose, +inf where the runs diverged.
      scored: the same over the fresh seeds that score.
      predictions: what says so beforehand, by its name; the lower the better.
    """

    chosen: Float[np.ndarray, "shapes"]
    scored: Float[np.ndarray, "shapes"]
    predictions: Mapping[str, Float[np.ndarray, "shapes"]]

    def best(self, count: int) -> Int[np.ndarray, "count"]:
        """Which shapes are the best, by the seeds that choose."""
        return np.argsort(self.chosen, kind="stable")[:count]


class Correlations(NamedTuple):
    """Each predictor's rank correlation with the scored losses, and what resampled shapes make of it."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "predictors"]
    resampled: Float[np.ndarray, "resamples predictors"]

    def estimate(self, name: str, confidence: float) -> Estimate:
        place = self.names.index(name)
        return percentile_estimate(self.values[place], self.resampled[:, place], confidence)

    def lead(self, name: str, other: str, confidence: float) -> Estimate:
        """How far one correlation lies above another, paired by resample."""
        first, second = self.names.index(name), self.names.index(other)
        return percentile_estimate(
            self.values[first] - self.values[second],
            self.resampled[:, first] - self.resampled[:, second],
            confidence,
        )


def correlations(pool: Pool, chosen: Int[np.ndarray, "chosen"]) -> Correlations:
    """Those among the chosen shapes; the intervals take them as they are and resample them."""
    predictions = np.stack(list(pool.predictions.values()))[:, chosen]
    scored = pool.scored[chosen]
    draws = np.random.default_rng(0).integers(len(chosen), size=(RESAMPLES, len(chosen)))
    return Correlations(
        tuple(pool.predictions),
        rank_correlations(predictions, scored),
        np.stack([rank_correlations(predictions[:, draw], scored[draw]) for draw in draws]),
    )
