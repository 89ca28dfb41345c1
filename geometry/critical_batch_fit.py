"""Fits the law of steps against batch size to what was measured, targets that were never reached included."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Shaped

from geometry.critical_batch import BatchForm, BatchLaw

Rows = Float[np.ndarray | np.floating, "*rows"]

# what is searched for is S/S_min - 1 at the smallest batch size that reached the target: under every form it
# takes all positive values, and at LEAST the steps can hardly be told from those of an infinite batch
LEAST = 1e-3
MOST = 1e3  # times the largest batch size over the smallest: a hyperbola can hardly be told from c/b
_COARSE_POINTS = 64
_GOLDEN_STEPS = 36  # the bracket shrinks to 3e-8 of itself
_GOLDEN = (5**0.5 - 1) / 2


class LawFit(NamedTuple):
    """A fitted law, or an array of them.

    Attributes:
      law: its curve follows the data over the batch sizes that reached the target, even where its constants
        are not determined; NaN where fewer than two batch sizes reached it.
      critical_batch: that of the law, or the limit that the fit runs to without an end: 0 where larger
        batches take no fewer steps, infinite where steps fall as 1/b to the largest. NaN where the law is.
      residual: the root of the least squares, by the number of points that reached the target: about the
        relative error of the law's steps. Of two forms, the smaller one fits better.
    """

    law: BatchLaw
    critical_batch: ArrayLike
    residual: ArrayLike

    @property
    def determined(self) -> Bool[np.ndarray | np.bool_, "*rows"]:
        """Whether the data determine the critical batch; otherwise they bound it from one side at most."""
        return np.isfinite(self.critical_batch) & (np.asarray(self.critical_batch) > 0)


def fit_law(
    form: BatchForm,
    batch_sizes: Shaped[np.ndarray, "points"],
    steps: Float[np.ndarray, "*rows points"],
    horizons: ArrayLike,
) -> LawFit:
    """The law with the least squares of log steps; all rows are fitted at once, in float64.

    A point that reached the target adds (log steps - log S(b))². One that did not tells no more than that
    S(b) is above its horizon: where the law is below, it adds (log horizon - log S(b))², and else nothing.

    >>> from geometry import HYPERBOLA
    >>> steps = np.array([np.inf, 500.0, 300.0, 200.0])
    >>> fit = fit_law(HYPERBOLA, np.array([10, 25, 50, 100]), steps, horizons=600)
    >>> round(float(fit.law.min_steps), 3), round(float(fit.critical_batch), 3), bool(fit.determined)
    (100.0, 100.0, True)
    >>> fit = fit_law(HYPERBOLA, np.array([25, 50, 100]), np.array([400.0, 200.0, 100.0]), horizons=600)
    >>> float(fit.critical_batch), bool(fit.determined)
    (inf, False)

    Args:
      form: INVERSE_ROOT, INVERSE or HYPERBOLA.
      batch_sizes: of the points; they may repeat, such as once for each replicate.
      steps: in which each point reached the target, infinite where it did not. Every row is fitted on its
        own, such as the resamples of a bootstrap.
      horizons: the steps each was given, broadcast to `steps`; read where the target was not reached.

    Raises:
      ValueError: something is not positive, or the shapes do not fit.
    """
    points = _Points.of(*(np.asarray(values, np.float64) for values in (batch_sizes, steps, horizons)))
    grid = np.linspace(np.log(LEAST), np.log(MOST * points.largest / points.smallest), _COARSE_POINTS)
    log_excess, end = _minimum(lambda exponent: points.fitted(form, exponent)[1], grid)
    law, squares = points.fitted(form, log_excess)
    limit = points.scale(form, np.where(end == 0, log_excess, np.copysign(np.inf, end)))
    known = np.where(points.smallest < points.largest, 1.0, np.nan)
    return LawFit(
        BatchLaw(form, known * law.min_steps, known * law.scale),
        known * form.critical_ratio * limit,
        known * np.sqrt(squares / points.count),
    )


class _Points(NamedTuple):
    """What is fitted, and of each row the smallest and the largest batch size and the number that reached."""

    batch_sizes: Float[np.ndarray, "points"]
    reached: Bool[np.ndarray, "*rows points"]
    log_steps: Float[np.ndarray, "*rows points"]  # the horizon's, where not reached
    smallest: Rows
    largest: Rows
    count: Int[np.ndarray | np.integer, "*rows"]

    @classmethod
    def of(cls, batch_sizes: np.ndarray, steps: np.ndarray, horizons: np.ndarray) -> "_Points":
        for name, values in (("batch_sizes", batch_sizes), ("steps", steps), ("horizons", horizons)):
            if not np.all(values > 0):
                raise ValueError(f"{name} must be positive, got {values[~(values > 0)].flat[0]}")
        reached = np.isfinite(steps)
        log_steps = np.log(np.where(reached, steps, horizons))
        count = np.sum(reached, axis=-1)
        every = np.broadcast_to(batch_sizes, steps.shape)
        smallest = np.min(every, axis=-1, where=reached, initial=batch_sizes.max())
        largest = np.max(every, axis=-1, where=reached, initial=batch_sizes.min())
        return cls(batch_sizes, reached, log_steps, smallest, largest, np.maximum(count, 1))

    def scale(self, form: BatchForm, log_excess: Rows) -> Rows:
        """That of the law with S/S_min - 1 = exp(log_excess) at the smallest batch size."""
        with np.errstate(divide="ignore"):  # of the limit: a hyperbola's is infinite
            return self.smallest / form.relative_batch_size(1 + np.exp(log_excess))

    def fitted(self, form: BatchForm, log_excess: Rows) -> tuple[BatchLaw, Rows]:
        """The law of the best S_min for that excess, and its sum of squares."""
        scale = self.scale(form, log_excess)
        gaps = self.log_steps - np.log(form.relative_steps(self.batch_sizes / scale[..., None]))
        measured, bounds = np.where(self.reached, gaps, 0), np.where(self.reached, -np.inf, gaps)
        # bounds above the level pull it up: the best level is the largest mean over all that is measured and
        # the k highest bounds, since the mean rises with k for as long as they lie above it
        highest_first = -np.sort(-bounds, axis=-1)
        totals = np.cumsum(np.concatenate([measured.sum(-1, keepdims=True), highest_first], axis=-1), axis=-1)
        level = np.max(totals / (self.count[..., None] + np.arange(totals.shape[-1])), axis=-1)
        misses = np.where(self.reached, gaps - level[..., None], np.maximum(bounds - level[..., None], 0))
        return BatchLaw(form, np.exp(level), scale), np.sum(misses**2, axis=-1)


def _minimum(
    objective: Callable[[Rows], Rows], grid: Float[np.ndarray, "grid *rows"]
) -> tuple[Rows, Int[np.ndarray | np.integer, "*rows"]]:
    """Where a function of one number in each row is least, and -1 or 1 where that is the grid's end; else 0.

    By golden sections between the neighbours of the best point of the grid.
    """
    best = np.argmin([objective(point) for point in grid], axis=0)
    end = (best == len(grid) - 1).astype(int) - (best == 0)
    bracket = np.clip([best - 1, best, best + 1], 0, len(grid) - 1)
    low, centre, high = np.take_along_axis(grid, bracket, axis=0)
    return np.where(end == 0, _golden_section(objective, low, high), centre), end


def _golden_section(objective: Callable[[Rows], Rows], low: Rows, high: Rows) -> Rows:
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = objective(left), objective(right)
    for _ in range(_GOLDEN_STEPS):
        upper = at_left > at_right  # the half that is kept
        low, high = np.where(upper, left, low), np.where(upper, high, right)
        kept, at_kept = np.where(upper, right, left), np.where(upper, at_right, at_left)
        new = low + high - kept
        at_new = objective(new)
        left, right = np.where(upper, kept, new), np.where(upper, new, kept)
        at_left, at_right = np.where(upper, at_kept, at_new), np.where(upper, at_new, at_kept)
    return (low + high) / 2
