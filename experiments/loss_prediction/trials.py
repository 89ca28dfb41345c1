"""The schedules of the study: those that the law is fitted on, and those that it has not seen."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments.loss_prediction.config import FITTED, Config
from experiments.study.choices import StudyError
from schedules import FAMILIES, Family
from schedules.search import Shape, Trial, named_key

FIT, CHOOSE, SCORE, CONFIRM = "fit", "choose", "score", "confirm"
EQUAL, ANY = "equal Σ LR", "any LR"  # how the unseen shapes are compared
POOLS = (EQUAL, ANY)
DRAWN_PER_SHAPE = 32  # of which some have too small a mean


class Schedule(NamedTuple):
    """A shape at a base learning rate; `pool` numbers what it belongs to, as part of its runs' identity."""

    shape: Shape
    base_lr: float
    pool: int

    def trials(self, stage: str, replicates: int) -> list[Trial]:
        return [Trial(stage, self.shape, self.pool, self.base_lr, r) for r in range(replicates)]


def fitted_schedules(config: Config) -> list[Schedule]:
    """The six that the law is fitted on, with the peaks at both ends of the range and between."""
    return [
        Schedule(Shape(FAMILIES[name], number, params), rate_at(place, config), 0)
        for number, (name, params, place) in enumerate(FITTED)
    ]


def unseen_schedules(config: Config) -> dict[str, list[Schedule]]:
    """By pool the same shapes, at base rates that make the sums of learning rates equal, and at any ones.

    The sum is that of the smallest rate held for the whole run. Only shapes that reach it within the largest
    rate are drawn, so that no peak leaves the range that the law is fitted on.
    """
    root = jax.random.key(config.seed)
    shapes = [shape for name in config.families for shape in _drawn(FAMILIES[name], config)]
    places = np.asarray(jax.random.uniform(named_key(root, "rates"), (len(shapes),)))
    total = config.smallest_share * config.largest_rate * config.num_steps
    return {
        EQUAL: [Schedule(shape, total / _sum(shape, config), 0) for shape in shapes],
        ANY: [
            Schedule(shape, rate_at(float(place), config), 1)
            for shape, place in zip(shapes, places, strict=True)
        ],
    }


def rate_at(place: float, config: Config) -> float:
    """The learning rate at a place between the smallest, 0, and the largest, 1, in log scale."""
    return config.largest_rate * config.smallest_share ** (1 - place)


def learning_rates(schedules: Sequence[Schedule], config: Config) -> np.ndarray:
    """Those of every step, a schedule in each row: what the runs take in float32, as float64."""
    rows = [schedule.trials(FIT, 1)[0].learning_rates(config.num_steps) for schedule in schedules]
    return np.stack(rows).astype(np.float64)


def _drawn(family: Family, config: Config) -> list[Shape]:
    key = named_key(jax.random.key(config.seed), "shapes", family.name)
    drawn = {
        name: np.asarray(values)
        for name, values in family.sample(key, DRAWN_PER_SHAPE * config.shapes).items()
    }
    shapes = []
    for row in range(DRAWN_PER_SHAPE * config.shapes):
        shape = Shape(family, len(shapes), {name: float(values[row]) for name, values in drawn.items()})
        if _sum(shape, config) >= config.smallest_share * config.num_steps:
            shapes.append(shape)
        if len(shapes) == config.shapes:
            return shapes
    raise StudyError(
        f"smallest_share: too few shapes of {family.name} have a mean of {config.smallest_share}."
    )


def _sum(shape: Shape, config: Config) -> float:
    return float(np.asarray(shape.family.multipliers(shape.params, config.num_steps), np.float64).sum())
