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
from experiments.study.journal import Journal
from schedules import FAMILIES
from schedules.descent import MINIMISERS
from schedules.fitting import shape_params
from schedules.search import Estimate, median_estimate


class Member(NamedTuple):
    """A family's best member, or its projection on the best found.

    Attributes:
      params: its shape parameters.
      base_lr: its base learning rate.
      gap: its loss over the best found's, less 1, in the median over fresh kernels.
    """

    params: Mapping[str, float]
    base_lr: float
    gap: Estimate


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
        return Member(params, math.exp(point[0]), gap(fresh[name], fresh[best], config.confidence))

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
    """The median over kernels of the ratio of the losses on the same kernel, less 1; negative is better."""
    with np.errstate(invalid="ignore"):
        ratios = np.where(losses == reference, 1, losses / reference)  # where both diverged too
    return median_estimate(ratios - 1, confidence)


def geometric_mean(losses: Float[np.ndarray, "kernels"]) -> float:
    return float(np.exp(np.mean(np.log(losses))))
