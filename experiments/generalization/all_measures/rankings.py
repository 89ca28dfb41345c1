"""How every measure ranks the errors of networks in an environment, with intervals clustered by image."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.generalization.all_measures.config import REPLICATE, AllMeasures
from experiments.study.statistics.agreement import (
    Environment,
    Settings,
    choice,
    granulated,
    kendall,
    num_unranked,
    sign_errors,
)
from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.statistics.resampled import percentile_estimate
from schedules.search import Estimate


class Ranking(NamedTuple):
    """How a measure ranks the networks.

    Attributes:
      tau: Kendall's τ over all.
      psi: the granulated Ψ.
      psi_draws: the same of each resample of the images.
      worst: the sign error in the worst environment of pairs, and which that is; None where no pair of errors
        can be told apart.
      hit: whether its choice is among the best fifth.
      regret: of its choice, in units of the range of the errors.
      regret_draws: the same of each resample of the images.
      unranked: networks of which it says nothing.
    """

    tau: Estimate
    psi: Estimate
    psi_draws: Float[np.ndarray, "resamples"]
    worst: tuple[float, Environment] | None
    hit: float
    regret: Estimate
    regret_draws: Float[np.ndarray, "resamples"]
    unranked: int


def rankings(
    measures: Mapping[str, Float[np.ndarray, "networks"]],
    shares: ClusteredShares,
    settings: Settings,
    config: AllMeasures,
) -> dict[str, Ranking]:
    """By the name of a measure, of which a larger value is to mean a larger error."""
    table, errors, draws = np.stack(list(measures.values())), shares.values, shares.resampled
    tau, psi = kendall(table, errors), mean_granulated(table, errors, settings)
    tau_draws, psi_draws = kendall(table, draws), mean_granulated(table, draws, settings)

    def ranking(place: int, measure: Float[np.ndarray, "networks"]) -> Ranking:
        wrong = sign_errors(measure, errors, settings, config.tested)
        wrong = {found: share for found, share in wrong.items() if found.setting != REPLICATE}
        worst = max(wrong, key=wrong.__getitem__, default=None)
        chosen = choice(measure, errors)
        regrets = choice(measure, draws).regret
        return Ranking(
            percentile_estimate(tau[place], tau_draws[:, place], config.confidence),
            percentile_estimate(psi[place], psi_draws[:, place], config.confidence),
            psi_draws[:, place],
            None if worst is None else (wrong[worst], worst),
            chosen.hit,
            percentile_estimate(chosen.regret, regrets, config.confidence),
            regrets,
            num_unranked(measure),
        )

    return {name: ranking(place, measure) for place, (name, measure) in enumerate(measures.items())}


def mean_granulated(
    measures: Float[np.ndarray, "measures networks"],
    errors: Float[np.ndarray, "*draws networks"],
    settings: Settings,
) -> Float[np.ndarray, "*draws measures"]:
    """Ψ of every measure over all settings but the seed, which networks of one group share."""
    correlations = granulated(measures, errors, settings)
    named = [values for name, values in correlations.items() if name != REPLICATE]
    return np.mean(named, axis=0)
