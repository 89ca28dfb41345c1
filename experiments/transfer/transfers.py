"""What is carried to larger sizes: shapes and learning rates as they were found, and as a law has them."""

from collections.abc import Mapping
from typing import NamedTuple

from experiments.study.training.tuning import Setting, Tuned, setting_at
from experiments.transfer.config import Config, Contestant, Size
from schedules.search import Estimate

BOTH, SHAPE, RATE = "shape and rate", "shape, rate retuned", "rate of the best shape"
LAW, UNCHANGED = "the law's rate", "the central rate"

Trained = tuple[Contestant, Setting]


class Pair(NamedTuple):
    """Two sizes that differ in one number.

    Attributes:
      axis: its name.
      source, target: the smaller size and the largest along the axis.
    """

    axis: str
    source: Size
    target: Size

    def __str__(self) -> str:
        """
        >>> str(Pair("batch_size", Size(100, 8, None), Size(100, 64, None)))
        'batch_size 8 for 64'
        """
        return f"{self.axis} {getattr(self.source, self.axis)} for {getattr(self.target, self.axis)}"


class Transfer(NamedTuple):
    """What was found at one size, used at a larger one.

    Attributes:
      pair: the sizes.
      best: the shape that is the best of all at the smaller.
      costs: by what is carried over, the change from what was found at the larger.
    """

    pair: Pair
    best: str
    costs: Mapping[str, Estimate]


def pairs(config: Config) -> list[Pair]:
    """Every smaller size of every axis with the largest."""
    axes = [(axis, *config.along(axis)) for axis in config.axes]
    return [Pair(axis, source, target) for axis, *sources, target in axes for source in sources]


def best_shape(size: Size, tuned: Mapping[Contestant, Tuned]) -> Contestant:
    """The one of the least median in the screening there."""
    contestants = [contestant for contestant in tuned if contestant.size == size]
    return min(contestants, key=lambda contestant: tuned[contestant].chosen_by)


def carried(pair: Pair, tuned: Mapping[Contestant, Tuned]) -> tuple[dict[str, Trained], Contestant]:
    """By its name, what is trained at the larger size of a pair; and the best there, to compare it with.

    It is the shape found at the smaller size, with its rate from there and with its own at the larger, and
    the best at the larger with its rate from the smaller.
    """
    found, best = best_shape(pair.source, tuned), best_shape(pair.target, tuned)
    carried_shape = found._replace(size=pair.target)
    trained = {
        BOTH: (carried_shape, tuned[found].setting),
        SHAPE: (carried_shape, tuned[carried_shape].setting),
        RATE: (best, tuned[best._replace(size=pair.source)].setting),
    }
    return trained, best


def extrapolated(
    family: str, place: int, tuned: Mapping[Contestant, Tuned], config: Config
) -> tuple[dict[str, Trained], Contestant]:
    """The same for a shape at the largest size of all: with the rate of that place, which its law says, and
    with that of the central size."""
    largest, central = Contestant(family, config.largest), Contestant(family, config.central)
    trained = {
        LAW: (largest, setting_at(place, config.centre)),
        UNCHANGED: (largest, tuned[central].setting),
    }
    return trained, largest
