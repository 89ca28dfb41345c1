"""Tasks to be learnt under some conditions and tested under others: all digits, spoilt or coloured."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.training.cross_validation import Split, errors, split
from experiments.study.training.programs import Row
from schedules.search import named_key
from workloads.datasets.all_digits import IMAGES, Copies, recoloured_digits, spoilt_digits
from workloads.datasets.coloured_digits import TRAIN_FLIPS
from workloads.datasets.corruptions import CORRUPTIONS, SEVERITIES

IN_DISTRIBUTION, SHIFTED = "in distribution", "shifted"  # the latter all kinds of shift together


class Task(NamedTuple):
    """Images to train on and to be tested on.

    Attributes:
      copies: a seed → the images under all conditions.
      classes: of their labels.
      trained: the conditions trained in, the first ones.
      shifts: kinds of shift, each with its conditions.
    """

    copies: Callable[..., Copies]
    classes: int
    trained: tuple[str, ...]
    shifts: Mapping[str, tuple[str, ...]]

    @property
    def shifted(self) -> tuple[str, ...]:
        """All conditions that are not trained in."""
        return tuple(condition for kind in self.shifts.values() for condition in kind)

    @property
    def conditions(self) -> tuple[str, ...]:
        return *self.trained, *self.shifted


DIGITS = Task(
    spoilt_digits,
    10,
    ("as they are",),
    {kind: tuple(f"{kind} {severity}" for severity in SEVERITIES) for kind in CORRUPTIONS},
)


def coloured_task(flips: Sequence[float]) -> Task:
    """Digits whose colour tells the label in training, tested with these shares of flipped colours."""
    named = tuple(f"flip {flip:g}" for flip in (*TRAIN_FLIPS, *flips))
    trained = len(TRAIN_FLIPS)
    return Task(
        partial(recoloured_digits, (*TRAIN_FLIPS, *flips)), 2, named[:trained], {"colour": named[trained:]}
    )


def own_split(row: Row, copies: Copies, task: Task, validation_size: int) -> Split:
    """What the run of a row sees of a task: its "fold" is left out."""
    key = named_key(row["key"], "chance")
    return split(copies, row["fold"], len(task.trained), validation_size, key)


def task_errors(runs: Sequence[Mapping[str, float]], task: Task) -> dict[str, ClusteredShares]:
    """The error of runs together, by replicate: of each condition, in distribution, of each kind of shift."""
    counts, totals = errors(enumerate(runs), task.conditions, IMAGES)
    by_condition = dict(zip(task.conditions, counts, strict=True))
    kinds = {IN_DISTRIBUTION: task.trained, SHIFTED: task.shifted, **task.shifts}

    def pooled(conditions: Sequence[str]) -> ClusteredShares:
        return ClusteredShares(sum(by_condition[c] for c in conditions), len(conditions) * totals[0])

    named = {condition: (condition,) for condition in task.conditions}
    return {name: pooled(conditions) for name, conditions in (named | kinds).items()}
