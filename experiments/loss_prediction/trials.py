"""The schedules of the study: those that the law is fitted on, and those that it has not seen."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.loss_prediction.config import FITTED, Config
from experiments.study.options.errors import StudyError
from schedules import FAMILIES, Family
from schedules.search import Candidate, Once, Trial, named_key

FIT, CHOOSE, SCORE, CONFIRM = "fit", "choose", "score", "confirm"
EQUAL, ANY = "equal Σ LR", "any LR"  # how the unseen shapes are compared
POOLS = (EQUAL, ANY)
DRAWN_PER_SHAPE = 32  # of which some have too small a mean


def runs(candidate: Candidate, stage: str, replicates: int, config: Config) -> list[Trial]:
    """The runs of a schedule in a stage, one a seed."""
    return [Trial(stage, candidate, config.num_steps, replicate) for replicate in range(replicates)]


def fitted_schedules(config: Config) -> list[Candidate]:
    """The six that the law is fitted on, with the peaks at both ends of the range and between."""
    return [
        Candidate(FAMILIES[name], number, params, rate_at(place, config))
        for number, (name, params, place) in enumerate(FITTED)
    ]


def unseen_schedules(config: Config) -> dict[str, list[Candidate]]:
    """By pool the same shapes, at base rates that make the sums of learning rates equal, and at any ones.

    The sum is that of the smallest rate held for the whole run. Only shapes that reach it within the largest
    rate are drawn, so that no peak leaves the range that the law is fitted on.
    """
    root = jax.random.key(config.seed)
    families = [FAMILIES[name] for name in config.families]
    drawn = [(family, *one) for family in families for one in enumerate(_drawn(family, config))]
    places = np.asarray(jax.random.uniform(named_key(root, "rates"), (len(drawn),)))
    total = config.smallest_share * config.largest_rate * config.num_steps
    return {
        EQUAL: [
            Candidate(family, number, params, total / _sum(family, params, config))
            for family, number, params in drawn
        ],
        ANY: [
            Candidate(family, config.shapes + number, params, rate_at(float(place), config))
            for (family, number, params), place in zip(drawn, places, strict=True)
        ],
    }


def unseen_once(config: Config, once: Once) -> dict[str, list[Candidate]]:
    """The unseen schedules as they were drawn when the study began."""

    def drawn() -> dict[str, list[dict[str, Any]]]:
        return {
            pool: [{"family": one.family.name, "number": one.number, **one.proposal} for one in schedules]
            for pool, schedules in unseen_schedules(config).items()
        }

    return {
        pool: [Candidate(FAMILIES[fields.pop("family")], **fields) for fields in proposals]
        for pool, proposals in once("unseen schedules", drawn).items()
    }


def rate_at(place: float, config: Config) -> float:
    """The learning rate at a place between the smallest, 0, and the largest, 1, in log scale."""
    return config.largest_rate * config.smallest_share ** (1 - place)


def learning_rates(schedules: Sequence[Candidate], config: Config) -> np.ndarray:
    """Those of every step, a schedule in each row: what the runs take in float32, as float64."""
    rows = [Trial(FIT, schedule, config.num_steps, 0).learning_rates for schedule in schedules]
    return np.stack(rows).astype(np.float64)


def _drawn(family: Family, config: Config) -> list[dict[str, float]]:
    """Shape parameters whose multipliers have a large enough mean."""
    key = named_key(jax.random.key(config.seed), "shapes", family.name)
    sampled = family.sample(key, DRAWN_PER_SHAPE * config.shapes)
    drawn = {name: np.asarray(values).tolist() for name, values in sampled.items()}
    rows = [dict(zip(drawn, values, strict=True)) for values in zip(*drawn.values(), strict=True)]
    least = config.smallest_share * config.num_steps
    fitting = itertools.islice((p for p in rows if _sum(family, p, config) >= least), config.shapes)
    shapes = list(fitting)
    if len(shapes) < config.shapes:
        raise StudyError(
            f"smallest_share: too few shapes of {family.name} have a mean of {config.smallest_share}."
        )
    return shapes


def _sum(family: Family, params: Mapping[str, float], config: Config) -> float:
    return float(np.asarray(family.multipliers(params, config.num_steps), np.float64).sum())
