"""The order of two shapes, each at its own best learning rate and both at one, and how often they differ."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.reversal.config import REFERENCE
from experiments.study.training.tuning import Setting, Tuned
from schedules.search import Estimate, Scale, paired_change

FIRST, REFERENCES = "the first's", f"{REFERENCE}'s"  # whose best rate both shapes are trained at

Scores = Float[np.ndarray, "replicates"]
Trained = tuple[str, Setting]  # a family's shape, in a setting


class Contest(NamedTuple):
    """What all shapes came to with one optimizer.

    Attributes:
      tuned: each at its best, by family.
      scores: of each in every setting that is the best of one; diverged runs +inf.
      scale: of all changes.
      confidence: of their intervals.
    """

    tuned: Mapping[str, Tuned]
    scores: Mapping[Trained, Scores]
    scale: Scale
    confidence: float

    def best(self, family: str) -> Setting:
        """Its own."""
        return self.tuned[family].setting

    def ranked(self, setting: Setting | None = None) -> list[str]:
        """The families by median score, all in a setting, else each in its own best."""
        return sorted(self.tuned, key=lambda family: np.median(self.scores[self._trained(family, setting)]))

    def change(self, family: str, other: str, setting: Setting | None = None) -> Estimate:
        """By a shape from another one, paired by seed: both in a setting, else each in its own best."""
        return self.changed(self._trained(family, setting), self._trained(other, setting))

    def changed(self, trained: Trained, other: Trained) -> Estimate:
        """The same of any two."""
        return paired_change(self.scores[trained], self.scores[other], self.confidence, self.scale)

    def _trained(self, family: str, setting: Setting | None) -> Trained:
        return family, setting or self.best(family)


class Orders(NamedTuple):
    """Two shapes compared twice.

    Attributes:
      families: the first and the second.
      retuned: the change by the second from the first, each at its own best rate.
      untuned: the same with both at one rate.
    """

    families: tuple[str, str]
    retuned: Estimate
    untuned: Estimate

    @property
    def sure(self) -> bool:
        """Whether which of the two is better at its best is beyond its interval."""
        return _apart(self.retuned)

    @property
    def reversed(self) -> bool:
        """Whether at one rate the other is better."""
        return bool(np.sign(self.retuned.value) * np.sign(self.untuned.value) < 0)

    @property
    def surely_reversed(self) -> bool:
        """Whether both orders are beyond their intervals, and differ."""
        return self.reversed and self.sure and _apart(self.untuned)


def orders(contest: Contest, rate_of: str) -> list[Orders]:
    """All pairs at the reference's best rate; at the first's every pair both ways round, once at either's."""
    both_ways = rate_of == FIRST
    pairs = (itertools.permutations if both_ways else itertools.combinations)(contest.tuned, 2)
    return [
        Orders(
            (first, second),
            contest.change(second, first),
            contest.change(second, first, contest.best(first if both_ways else REFERENCE)),
        )
        for first, second in pairs
    ]


class Share(NamedTuple):
    """How many orders reverse.

    Attributes:
      compared: pairs.
      sure: of these, those whose order is beyond its interval.
      surely: of the sure ones, those that reverse beyond their interval.
      nominally: of all pairs, those whose medians reverse.
    """

    compared: int
    sure: int
    surely: int
    nominally: int

    @classmethod
    def of(cls, found: Sequence[Orders]) -> "Share":
        return cls(
            len(found),
            sum(order.sure for order in found),
            sum(order.surely_reversed for order in found),
            sum(order.reversed for order in found),
        )

    @property
    def value(self) -> float:
        """Sure reversals over sure orders."""
        return self.surely / self.sure if self.sure else 0.0


class Choice(NamedTuple):
    """The best shape of all, and the one that would be chosen at the reference's rate.

    Attributes:
      lowest_rate, highest_rate: of all that are the best of a shape.
      retuned: the family of the first.
      untuned: that of the second.
      cost: the change by the second at that rate from the first at its own.
    """

    lowest_rate: float
    highest_rate: float
    retuned: str
    untuned: str
    cost: Estimate


def choice(contest: Contest) -> Choice:
    """What a choice without retuning comes to; both are chosen by the seeds that compare them."""
    rates = [contest.best(family).learning_rate for family in contest.tuned]
    common = contest.best(REFERENCE)
    retuned, untuned = contest.ranked()[0], contest.ranked(common)[0]
    cost = contest.changed((untuned, common), (retuned, contest.best(retuned)))
    return Choice(min(rates), max(rates), retuned, untuned, cost)


def _apart(change: Estimate) -> bool:
    """From no change."""
    return change.low > 0 or change.high < 0
