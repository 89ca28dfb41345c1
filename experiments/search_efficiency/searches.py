"""The searches of the study, and what is read off each: its incumbents and what they had cost."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from schedules.search import Candidate, named_key

CURVES = "curves"  # the model of all curves, which searches all shapes at once, or those of a family
DRAWN = ("random", "sobol", "grid")  # their candidates do not depend on scores
# the first rung of a race, as fractions of the seeds and of the steps of the full measurement
RACES: Mapping[str, tuple[float, float]] = MappingProxyType({"seeds": (1 / 3, 1.0), "horizon": (1.0, 1 / 4)})


class Search(NamedTuple):
    """One search: of a family, by a strategy, whose candidates may race ("strategy+race"), from a seed."""

    family: str
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """That of its runs in the journal, and of the seeds that they share."""
        return f"{self.strategy} {self.seed}"

    @property
    def asks(self) -> str:
        """The strategy as `schedules.search` knows it."""
        return self.strategy.partition("+")[0]

    @property
    def race(self) -> str:
        """The race's name, or nothing."""
        return self.strategy.partition("+")[2]

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """What its candidates are drawn with: the same for all strategies and races."""
        return named_key(root, "search", self.family, self.seed)


class Incumbents(NamedTuple):
    """The best candidates that a search knew, one after the other.

    Attributes:
      candidates: each lower in the search's own score than all before it.
      costs: when each was known, in full-length runs.
      told: the search's own scores.
      scores: what they are worth: the same without noise, else medians over fresh seeds.
    """

    candidates: tuple[Candidate, ...]
    costs: Float[np.ndarray, "incumbents"]
    told: Float[np.ndarray, "incumbents"]
    scores: Float[np.ndarray, "incumbents"]

    @property
    def winner(self) -> Candidate:
        return self.candidates[-1]

    def cost_to_reach(self, score: float) -> float:
        """When the search first knew a candidate as good as `score`; +inf where it never did."""
        reached = np.flatnonzero(self.scores <= score)
        return float(self.costs[reached[0]]) if len(reached) else math.inf

    def scores_at(self, costs: Float[np.ndarray, "costs"]) -> Float[np.ndarray, "costs"]:
        """The worth of what the search knew at each cost; +inf before its first candidate."""
        known = np.searchsorted(self.costs, costs, side="right")
        return np.concatenate([[np.inf], self.scores])[known]


def numbered(candidates: Sequence[Candidate], first: int = 0) -> list[Candidate]:
    """By their places: those of several searches have the same numbers."""
    return [replace(candidate, number=place) for place, candidate in enumerate(candidates, first)]


def improvements(scores: Float[np.ndarray, "told"]) -> Int[np.ndarray, "improvements"]:
    """The first place, and every other whose score is lower than all before.

    >>> improvements(np.array([np.inf, 3.0, 4.0, 3.0, 1.0])).tolist()
    [0, 1, 4]
    """
    lowest_before = np.minimum.accumulate(scores)[:-1]
    return np.concatenate([[0], 1 + np.flatnonzero(scores[1:] < lowest_before)])
