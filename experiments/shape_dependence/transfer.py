"""Shapes that were found in one setting, trained in another with their learning rate tuned there.

Pure but for `evaluate`. Every shape's rate is tuned in the same way and on the same grid, also that of the
shape that was found there: its searched rate would otherwise be its privilege.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.study.training.tuning import next_place
from schedules.search import Budget, Candidate, Rung, Trial
from schedules.search.racing import median_scores, replicate_scores
from schedules.search.recall import Once, anew

Evaluate = Callable[[Sequence[Trial]], Mapping[Trial, float]]
Tried = dict[int, tuple[Candidate, float]]  # by its place on the grid, a rate and its median score

FIRST_RATES, MORE_RATES = 5, 7  # the first ones each √2 times the one before, more placed by the scores
RATES = FIRST_RATES + MORE_RATES
PLACES_IN_A_DOUBLING = 4


class Transferred(NamedTuple):
    """A shape trained in a setting.

    Attributes:
      candidate: the shape with its best learning rate there.
      bracketed: whether learning rates were tried on both sides of it.
      scores: of fresh runs, one a replicate, which all shapes share; diverged ones +inf.
    """

    candidate: Candidate
    bracketed: bool
    scores: Float[np.ndarray, "replicates"]


def transfer(
    setting: str, shapes: Mapping[str, Candidate], budget: Budget, evaluate: Evaluate, once: Once = anew
) -> dict[str, Transferred]:
    """Tune every shape's learning rate in a setting, then score all with fresh seeds.

    Args:
      setting: its name, that of its own shape among `shapes` too; the seeds belong to it.
      shapes: the best shape of every setting.
      budget: that of the setting's search, of which the select replicates tune.
      evaluate: trials → the score of each in this setting, +inf where it diverged.
      once: as for `search_shapes`.
    """
    starts = once(
        f"starts in {setting}",
        lambda: _equal_sums(shapes[setting], list(shapes.values()), budget.num_steps),
    )
    tuned = _tuned(f"retune {setting}", list(shapes.values()), starts, budget, evaluate)
    best = list(map(_best, tuned))
    rung = Rung(budget.confirm_replicates, budget.num_steps)
    scores = replicate_scores(f"compare {setting}", best, rung, evaluate)
    return {
        name: Transferred(candidate, _is_inside(candidate.base_lr, tried), replicates)
        for name, candidate, tried, replicates in zip(shapes, best, tuned, scores, strict=True)
    }


def _tuned(
    stage: str, shapes: Sequence[Candidate], starts: Sequence[float], budget: Budget, evaluate: Evaluate
) -> list[Tried]:
    """For each shape, the median score at each learning rate tried, by its place on the grid."""
    numbers, rung = itertools.count(), Rung(budget.select_replicates, budget.num_steps)
    tried: list[Tried] = [{} for _ in shapes]
    offsets = [2 * (k - FIRST_RATES // 2) for k in range(FIRST_RATES)]
    asked = [(row, _place(start) + offset) for row, start in enumerate(starts) for offset in offsets]
    for _ in range(1 + MORE_RATES):
        candidates = [
            Candidate(shapes[row].family, next(numbers), shapes[row].params, _rate(place))
            for row, place in asked
        ]
        medians = median_scores(stage, candidates, rung, evaluate)
        for (row, place), candidate, median in zip(asked, candidates, medians, strict=True):
            tried[row][place] = candidate, median
        scores = [{place: median for place, (_, median) in places.items()} for places in tried]
        asked = [(row, next_place(places)) for row, places in enumerate(scores)]
    return tried


def _best(tried: Tried) -> Candidate:
    """By the median; equal ones go to the lower learning rate."""
    return tried[min(tried, key=lambda place: (tried[place][1], place))][0]


def _equal_sums(own: Candidate, shapes: Sequence[Candidate], num_steps: int) -> list[float]:
    """The base learning rates with which all shapes' learning rates have the sum of the setting's own: it
    decides most of a short run, so the best ones are not far."""
    means = [float(np.mean(c.family.multipliers(c.params, num_steps))) for c in (own, *shapes)]
    own_mean, *others = (max(mean, 1 / num_steps) for mean in means)
    return [own.base_lr * own_mean / mean for mean in others]


def _place(learning_rate: float) -> int:
    return round(PLACES_IN_A_DOUBLING * math.log2(learning_rate))


def _rate(place: int) -> float:
    return 2 ** (place / PLACES_IN_A_DOUBLING)


def _is_inside(base_lr: float, tried: Tried) -> bool:
    return _rate(min(tried)) < base_lr < _rate(max(tried))
