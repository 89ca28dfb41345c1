"""A number, and what it is on every resample of the replicates."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from experiments.study.statistics.batch_law import positive_estimate, resamples_of
from schedules.search import Estimate


class Resampled(NamedTuple):
    """A positive number, and what it is on every resample of the seeds; NaN where it is not known."""

    value: float
    draws: Float[np.ndarray, "resamples"]

    @classmethod
    def of(
        cls,
        statistic: Callable[[Float[np.ndarray, "*resamples replicates sizes"]], ArrayLike],
        values: Float[np.ndarray, "replicates sizes"],
    ) -> "Resampled":
        """A statistic of all replicates, and of each resample of them; see `resamples_of`."""
        return cls(float(statistic(values)), statistic(values[resamples_of(len(values))]))

    def over(self, other: "Resampled") -> "Resampled":
        """The ratio, paired by resample; not known where either is zero, infinite or not known itself."""
        return Resampled(float(_ratio(self.value, other.value)), _ratio(self.draws, other.draws))

    def estimate(self, confidence: float) -> Estimate:
        """With its interval; see `positive_estimate`."""
        return positive_estimate(self.value, self.draws, confidence)


def _ratio(numbers: ArrayLike, others: ArrayLike) -> ArrayLike:
    determined = np.isfinite(numbers) & np.isfinite(others) & (np.minimum(numbers, others) > 0)
    return np.where(determined, numbers, np.nan) / np.where(determined, others, np.nan)
