"""The law of steps against batch size over replicates, and intervals for its critical batch."""

from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from experiments.study.statistics.resamples import resamples_of
from geometry import BatchForm, LawFit, fit_law
from schedules.search import Estimate
from schedules.search.scoring import expanded_confidence


class ReplicatedFit(NamedTuple):
    """A law fitted to all replicates, whose number is kept, and to each resample of them."""

    fit: LawFit
    resampled: LawFit
    replicates: int

    def critical_batch(self, confidence: float) -> Estimate:
        """With expanded percentiles: about as often as it says for normal noise, less often for skewed."""
        expanded = expanded_confidence(confidence, self.replicates)
        return positive_estimate(self.fit.critical_batch, self.resampled.critical_batch, expanded)


def replicated_fit(
    form: BatchForm,
    batch_sizes: Shaped[np.ndarray, "sizes"],
    steps: Float[np.ndarray, "replicates sizes"],
    horizons: ArrayLike,
) -> ReplicatedFit:
    """Fit all runs together, each a point, and refit 1,000 bootstrap resamples of the replicates.

    A resample takes all batch sizes of a replicate or none, since what they share, such as the initial
    parameters, makes them slow or fast together. The draws are the same in every call, so fits to as many
    replicates are paired by resample.

    Args:
      form: of the law; see `geometry.fit_law`, also for the rest.
      batch_sizes: one for each column.
      steps: to the target, infinite where it was not reached.
      horizons: the steps that were tried, broadcast to `steps`.

    Raises:
      ValueError: there is one replicate, which tells nothing of the spread; or as `geometry.fit_law` does.
    """
    count = len(steps)
    if count < 2:
        raise ValueError(f"steps must hold at least two replicates, got {count}")
    chosen = np.vstack([np.arange(count), resamples_of(count)])

    def points(values):
        return np.broadcast_to(values, steps.shape)[chosen].reshape(len(chosen), -1)

    fits = fit_law(form, np.tile(batch_sizes, count), points(steps), points(horizons))
    fit, resampled = jax.tree.map(lambda rows: rows[0], fits), jax.tree.map(lambda rows: rows[1:], fits)
    return ReplicatedFit(fit, resampled, count)


def positive_estimate(
    value: ArrayLike, resampled: Float[np.ndarray, "resamples"], confidence: float
) -> Estimate:
    """A positive value with the percentile interval of its resampled values, where NaN is a value not known.

    It then counts as zero for the lower end and as infinite for the upper one. Also for ratios, such as of
    two critical batches by resample. Percentiles of few replicates are too close: ask for those of
    `expanded_confidence`.

    >>> positive_estimate(2.0, np.array([1.0, 2.0, 3.0, np.inf]), 0.9)
    Estimate(value=2.0, low=1.0, high=inf)
    >>> positive_estimate(2.0, np.array([1.0, 2.0, 3.0, np.nan]), 0.9)
    Estimate(value=2.0, low=0.0, high=inf)
    """
    unknown = np.isnan(resampled)
    least, most = np.where(unknown, 0, resampled), np.where(unknown, np.inf, resampled)
    # ends among the values, outwards: between a number and infinity nothing can be interpolated
    low = np.quantile(least, (1 - confidence) / 2, method="lower")
    high = np.quantile(most, (1 + confidence) / 2, method="higher")
    return Estimate(float(value), float(low), float(high))
