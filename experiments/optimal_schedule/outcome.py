"""What came out in one setting."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.optimal_schedule.config import Config, Setting
from experiments.optimal_schedule.trials import (
    CERTIFY,
    Found,
    best_minimiser,
    candidates,
    projected,
    read,
    series,
)
from experiments.study.storage.journal import Journal
from schedules import FAMILIES
from schedules.descent import MINIMISERS
from schedules.fitting import shape_params
from schedules.search import Estimate, mean_estimate, median_estimate


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
      descents: loss and learning rates of every descent over schedules through the exact loss.
      schedules: what is certified, by name: minimisers, families, projections, the mean field's choice.
      fresh: of each of these, the loss on every fresh kernel.
      fits: by family, its best member.
      projections: by family, its projection on the best found.
    """

    setting: Setting
    best: str
    descents: tuple[tuple[float, Float[np.ndarray, "steps"]], ...]
    schedules: Mapping[str, Found]
    fresh: Mapping[str, Float[np.ndarray, "kernels"]]
    fits: Mapping[str, Member]
    projections: Mapping[str, Member]

    @property
    def best_found(self) -> Found:
        return self.schedules[self.best]

    @property
    def nearest_family(self) -> str:
        return min(self.fits, key=lambda name: self.fits[name].gap.value)

    def distance(self, family: str) -> float:
        """Of the projection from the best found, over the latter's norm."""
        return math.sqrt(self.schedules[projected(family)].loss)


def read_outcome(journal: Journal, setting: Setting, config: Config) -> Outcome:
    """What the journal holds of a setting."""
    best = best_minimiser(journal, setting)
    schedules = candidates(journal, setting, config)
    fresh = {
        name: series(metrics, "kernel") for (name, _), metrics in read(journal, CERTIFY, setting).items()
    }

    def member(family: str, name: str) -> Member:
        point = schedules[name].point[: 1 + len(FAMILIES[family].space)]
        params = shape_params(FAMILIES[family], jnp.asarray(point[1:]))
        losses = fresh[name], fresh[best], config.confidence
        return Member(params, math.exp(point[0]), gap(*losses), median_gap(*losses))

    return Outcome(
        setting,
        best,
        tuple(
            (metrics["loss"], series(metrics, "rate"))
            for minimiser in MINIMISERS
            for metrics in read(journal, minimiser, setting).values()
        ),
        schedules,
        fresh,
        {family: member(family, family) for family in config.families},
        {family: member(family, projected(family)) for family in config.families},
    )


def gap(
    losses: Float[np.ndarray, "kernels"], reference: Float[np.ndarray, "kernels"], confidence: float
) -> Estimate:
    """The geometric mean over kernels of the ratio of the losses on the same kernel, less 1; negative is
    better. It is what was minimised, on other kernels."""
    mean = mean_estimate(np.log(_ratios(losses, reference)), confidence)
    return Estimate(*(float(np.expm1(value)) for value in mean))


def median_gap(
    losses: Float[np.ndarray, "kernels"], reference: Float[np.ndarray, "kernels"], confidence: float
) -> Estimate:
    """The median in place of the geometric mean: it knows nothing of rare kernels, on which bold schedules
    diverge, so a schedule may lie below the best found in it."""
    return median_estimate(_ratios(losses, reference) - 1, confidence)


def _ratios(
    losses: Float[np.ndarray, "kernels"], reference: Float[np.ndarray, "kernels"]
) -> Float[np.ndarray, "kernels"]:
    with np.errstate(invalid="ignore"):
        return np.where(losses == reference, 1, losses / reference)  # 1 where both diverged


def geometric_mean(losses: Float[np.ndarray, "kernels"]) -> float:
    return float(np.exp(np.mean(np.log(losses))))
