"""The schedules of the study: those that the laws are fitted on, and those that they have not seen."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from experiments.loss_prediction.config import FITTED, Config
from experiments.study.options.errors import StudyError
from schedules import FAMILIES, Family
from schedules.search import Candidate, Once, Trial, named_key

EQUAL, ANY = "equal Σ LR", "any LR"  # how the unseen shapes are compared
DRAWN_PER_SHAPE = 32  # of which some have too small a mean


def fitted_schedules(config: Config) -> list[Candidate]:
    """The six that the law is fitted on, with the peaks at both ends of the range and between."""
    return [
        Candidate(FAMILIES[name], number, params, rate_at(place, config))
        for number, (name, params, place) in enumerate(FITTED)
    ]


def unseen_schedules(config: Config, once: Once) -> dict[str, list[Candidate]]:
    """By pool the same shapes, at base rates that make the sums of learning rates equal, and at any ones; as
    they were drawn when the study began.

    The sum is that of the smallest rate held for the whole run. Only shapes that reach it within the largest
    rate are drawn, so that no peak leaves the range that the law is fitted on.

    Raises StudyError where too few do.
    """
    pools = once("unseen schedules", lambda: _drawn_pools(config))
    return {
        pool: [Candidate(FAMILIES[fields.pop("family")], **fields) for fields in proposals]
        for pool, proposals in pools.items()
    }


def rate_at(place: float, config: Config) -> float:
    """The learning rate at a place between the smallest, 0, and the largest, 1, in log scale."""
    return config.largest_rate * config.smallest_share ** (1 - place)


def learning_rates(schedules: Sequence[Candidate], config: Config) -> Float[np.ndarray, "schedules steps"]:
    """Those of every step: what the runs take in float32, as float64."""
    rows = [Trial("", schedule, config.num_steps, 0).learning_rates for schedule in schedules]
    return np.stack(rows).astype(np.float64)


def _drawn_pools(config: Config) -> dict[str, list[dict[str, Any]]]:
    families = [FAMILIES[name] for name in config.families]
    shapes = [(family, *shape) for family in families for shape in enumerate(_drawn(family, config))]
    key = named_key(jax.random.key(config.seed), "rates")
    places = np.asarray(jax.random.uniform(key, (len(shapes),))).tolist()
    total = config.smallest_share * config.largest_rate * config.num_steps

    def proposal(family: Family, number: int, params: dict[str, float], rate: float) -> dict[str, Any]:
        return {"family": family.name, "number": number, "params": params, "base_lr": rate}

    return {
        EQUAL: [
            proposal(family, number, params, total / _sum(family, params, config))
            for family, number, params in shapes
        ],
        ANY: [
            proposal(family, config.shapes + number, params, rate_at(place, config))
            for (family, number, params), place in zip(shapes, places, strict=True)
        ],
    }


def _drawn(family: Family, config: Config) -> list[dict[str, float]]:
    """Shape parameters whose multipliers have a large enough mean."""
    key = named_key(jax.random.key(config.seed), "shapes", family.name)
    sampled = family.sample(key, DRAWN_PER_SHAPE * config.shapes)
    drawn = {name: np.asarray(values).tolist() for name, values in sampled.items()}
    rows = [dict(zip(drawn, values, strict=True)) for values in zip(*drawn.values(), strict=True)]
    least = config.smallest_share * config.num_steps
    fitting = (params for params in rows if _sum(family, params, config) >= least)
    shapes = list(itertools.islice(fitting, config.shapes))
    if len(shapes) < config.shapes:
        raise StudyError(
            f"smallest_share: too few shapes of {family.name} have a mean of {config.smallest_share}."
        )
    return shapes


def _sum(family: Family, params: Mapping[str, float], config: Config) -> float:
    return float(np.asarray(family.multipliers(params, config.num_steps), np.float64).sum())
