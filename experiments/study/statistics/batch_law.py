"""The law of steps against batch size over replicates, and intervals for its critical batch."""

from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Shaped

from experiments.study.statistics.resampled import Resampled, resamples_of
from geometry import BatchForm, LawFit, fit_law


class ReplicatedFit(NamedTuple):
    """A law fitted to all replicates, whose number is kept, and to each resample of them."""

    fit: LawFit
    resampled: LawFit
    replicates: int

    @property
    def critical_batch(self) -> Resampled:
        """That of the law."""
        draws = np.asarray(self.resampled.critical_batch)
        return Resampled(float(self.fit.critical_batch), draws, self.replicates)


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
