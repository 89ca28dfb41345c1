"""Shifted error at equal error in distribution, and how the one grows with the other.

Over all settings tried, the shifted error is fitted by what is the optimizer's own, and a parabola of the
error in distribution that all have in common. Both errors are of the same images, and every resample of
their clusters has a fit of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.shift.config import TASKS, Contestant
from experiments.shift.runs import Results
from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.statistics.resampled import percentile_estimate
from experiments.study.training.tasks import IN_DISTRIBUTION
from schedules.search import Estimate

LINEAR, INCREASING, DIMINISHING = "linear", "increasing", "diminishing"


class Fit(NamedTuple):
    """What is fitted of one shift, and of every resample.

    Attributes:
      optimizers: by name.
      offsets: how far the shifted error of each lies above their mean, at equal error in distribution.
      curvature: the second derivative of shifted accuracy along accuracy in distribution: 0 where it grows in
        proportion, positive where more and more, negative where less and less.
    """

    optimizers: tuple[str, ...]
    offsets: tuple[Float[np.ndarray, "optimizers"], Float[np.ndarray, "resamples optimizers"]]
    curvature: tuple[float, Float[np.ndarray, "resamples"]]
    confidence: float

    def excess(self, optimizers: Sequence[str], others: Sequence[str]) -> Estimate:
        """By how much the mean offset of the first is above that of the others."""
        value, draws = (
            np.mean(offsets[..., self._places(optimizers)], axis=-1)
            - np.mean(offsets[..., self._places(others)], axis=-1)
            for offsets in self.offsets
        )
        return percentile_estimate(value, draws, self.confidence)

    @property
    def curvature_estimate(self) -> Estimate:
        return percentile_estimate(*self.curvature, self.confidence)

    @property
    def kind(self) -> str:
        """Of the three of arXiv:2211.08583, the one that the interval of the curvature tells."""
        _, low, high = self.curvature_estimate
        return INCREASING if low > 0 else DIMINISHING if high < 0 else LINEAR

    def _places(self, names: Sequence[str]) -> list[int]:
        return [self.optimizers.index(name) for name in names]


class Points(NamedTuple):
    """The settings of a task that are compared.

    Attributes:
      contestants: whose each is.
      errors: of each, in distribution and shifted, under every name.
    """

    contestants: tuple[Contestant, ...]
    errors: tuple[dict[str, ClusteredShares], ...]

    def shares(self, name: str) -> ClusteredShares:
        """Of all settings together, in distribution or of a shift."""
        counts, totals = zip(*(errors[name] for errors in self.errors), strict=True)
        return ClusteredShares(np.array(counts), np.array(totals))


def points(task: str, results: Results) -> Points:
    """The settings whose error in distribution is within the range of the least."""
    tried = [
        (contestant, errors)
        for contestant, outcome in results.outcomes.items()
        if contestant.task == task
        for errors in outcome.screened.values()
    ]
    levels = np.array([errors[IN_DISTRIBUTION].values for _, errors in tried])
    kept = levels <= results.config.error_range * levels.min()
    return Points(*zip(*(tried[place] for place in np.flatnonzero(kept)), strict=True))


def fits(task: str, results: Results) -> dict[str, Fit]:
    """Of every kind of shift of a task and of each of its conditions, by name."""
    compared = points(task, results)
    optimizers = tuple(dict.fromkeys(contestant.optimizer for contestant in compared.contestants))
    members = np.array([optimizers.index(contestant.optimizer) for contestant in compared.contestants])
    names = [name for name in compared.errors[0] if name not in (IN_DISTRIBUTION, *TASKS[task].trained)]
    trained, shifted = compared.shares(IN_DISTRIBUTION), [compared.shares(name) for name in names]
    offsets, curvatures = parabola(trained.values, np.stack([s.values for s in shifted], axis=-1), members)
    draws = zip(trained.resampled, np.stack([s.resampled for s in shifted], axis=-1), strict=True)
    resampled = (np.array(parts) for parts in zip(*(parabola(*draw, members) for draw in draws), strict=True))
    offset_draws, curvature_draws = resampled
    return {
        name: Fit(
            optimizers,
            (offsets[:, place], offset_draws[..., place]),
            (curvatures[place], curvature_draws[:, place]),
            results.config.confidence,
        )
        for place, name in enumerate(names)
    }


def parabola(
    trained: Float[np.ndarray, "settings"],
    shifted: Float[np.ndarray, "settings shifts"],
    members: Int[np.ndarray, "settings"],
) -> tuple[Float[np.ndarray, "groups shifts"], Float[np.ndarray, "shifts"]]:
    """Least squares of shifted = offset of the group + b·trained + c·trained², errors of settings.

    Returns:
      The offsets without their mean, and the second derivative of 1 - shifted along 1 - trained, -2c.
    """
    centred = trained - np.mean(trained)
    design = np.column_stack([np.eye(np.max(members) + 1)[members], centred, centred**2])
    coefficients = np.linalg.lstsq(design, shifted, rcond=None)[0]
    offsets = coefficients[:-2]
    return offsets - np.mean(offsets, axis=0), -2 * coefficients[-1]
