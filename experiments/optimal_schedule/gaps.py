"""How far schedules lie above the best found, and what the best found looks like."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.optimal_schedule.config import MEAN_FIELD, Setting
from schedules.descent import MINIMISERS
from schedules.search import Estimate, mean_estimate, median_estimate

NEAR = 0.01  # a descent that ends this close to the best is as good

Rates = Float[np.ndarray, "steps"]
Losses = Float[np.ndarray, "kernels"]


class Found(NamedTuple):
    """What a descent found.

    Attributes:
      name: the start, or the family.
      loss: what was minimised, +inf where it diverged.
      learning_rates: the schedule.
      point: where it is in the space of a family: log base learning rate and angles.
    """

    name: str
    loss: float
    learning_rates: Rates
    point: Float[np.ndarray, "dims"]


class Member(NamedTuple):
    """A family's best member, or its projection on the best found.

    Attributes:
      params: its shape parameters.
      base_lr: its base learning rate.
      gap: its loss over the best found's on the same fresh kernel, less 1, in the geometric mean.
      median_gap: the same in the median.
    """

    params: Mapping[str, float]
    base_lr: float
    gap: Estimate
    median_gap: Estimate


class Outcome(NamedTuple):
    """Everything found in a setting.

    Attributes:
      setting: which.
      best: the minimiser whose best schedule is the best found.
      descents: those over schedules through the exact loss.
      schedules: what is certified, by name: minimisers, families, projections, the mean field's choice.
      fresh: of each of these, the loss on every fresh kernel.
      fits: by family, its best member.
      projections: by family, its projection on the best found.
    """

    setting: Setting
    best: str
    descents: Sequence[Found]
    schedules: Mapping[str, Found]
    fresh: Mapping[str, Losses]
    fits: Mapping[str, Member]
    projections: Mapping[str, Member]

    @property
    def best_found(self) -> Found:
        return self.schedules[self.best]

    @property
    def other(self) -> str:
        """The other minimiser."""
        return next(name for name in MINIMISERS if name != self.best)

    @property
    def nearest_family(self) -> str:
        return min(self.fits, key=lambda name: self.fits[name].gap.value)

    @property
    def nearest(self) -> Member:
        """The nearest family's best member."""
        return self.fits[self.nearest_family]

    @property
    def nearest_median_gap(self) -> Estimate:
        """Of the family that is nearest in the median."""
        return min((member.median_gap for member in self.fits.values()), key=lambda gap: gap.value)

    @property
    def near(self) -> list[Found]:
        """All descents that ended within 1 % of the best found."""
        return [found for found in self.descents if found.loss <= (1 + NEAR) * self.best_found.loss]

    def distance(self, family: str) -> float:
        """Of the projection from the best found, over the latter's norm."""
        return math.sqrt(self.schedules[projected(family)].loss)

    def gap(self, name: str, confidence: float) -> Estimate:
        """That of a schedule to the best found, in the geometric mean."""
        return gap(self.fresh[name], self.fresh[self.best], confidence)

    def broken_promise(self, confidence: float) -> Estimate:
        """How far the mean field's choice lies above the loss that the mean field has of it, less 1."""
        true = self.fresh[MEAN_FIELD]
        return gap(true, np.full_like(true, self.schedules[MEAN_FIELD].loss), confidence)

    def feature(self, measure: Callable[[Rates], float]) -> Estimate:
        """A measure of the best found; its interval is the range over all that is `near`."""
        values = [measure(found.learning_rates) for found in self.near]
        return Estimate(measure(self.best_found.learning_rates), min(values), max(values))


def projected(family: str) -> str:
    """What a family's projection on the best found is called."""
    return f"projected {family}"


def relative_end(rates: Rates) -> float:
    """The mean of the last tenth over the median rate."""
    return float(np.mean(rates[-max(1, len(rates) // 10) :]) / np.median(rates))


def relative_begin(rates: Rates) -> float:
    """The first over the median rate."""
    return float(rates[0] / np.median(rates))


def gap(losses: Losses, reference: Losses, confidence: float) -> Estimate:
    """The geometric mean over kernels of the ratio of the losses on the same kernel, less 1; negative is
    better. It is what was minimised, on other kernels."""
    mean = mean_estimate(np.log(_ratios(losses, reference)), confidence)
    return Estimate(*(float(np.expm1(value)) for value in mean))


def median_gap(losses: Losses, reference: Losses, confidence: float) -> Estimate:
    """The median in place of the geometric mean: it knows nothing of rare kernels, on which bold schedules
    diverge, so a schedule may lie below the best found in it."""
    return median_estimate(_ratios(losses, reference) - 1, confidence)


def _ratios(losses: Losses, reference: Losses) -> Losses:
    with np.errstate(invalid="ignore"):
        return np.where(losses == reference, 1, losses / reference)  # 1 where both diverged
