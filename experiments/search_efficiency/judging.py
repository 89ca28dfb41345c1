"""How searches are judged: by what they cost until they knew a near-optimal shape."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from experiments.search_efficiency.searches import Incumbents, Search
from experiments.study.statistics.fractions import fraction_estimate
from schedules.search import Estimate, Scale, median_change, median_estimate


class Known(NamedTuple):
    """The best score that is known of a family, and the standard error of the scores compared with it."""

    score: float
    error: float

    def near(self, tolerance: float) -> float:
        """The highest score of a near-optimal shape: within one standard error, or within the tolerance, a
        fraction of the score that is nothing where that is not positive."""
        return self.score + max(tolerance * self.score, self.error)


class Winner(NamedTuple):
    """What became of a search's winner, in three scores that each were measured with other seeds.

    Attributes:
      naive: the one that it was chosen by.
      fresh: over the seeds that confirm it.
      truth: over many more.
    """

    naive: float
    fresh: Float[np.ndarray, "confirm"]
    truth: Float[np.ndarray, "truth"]


class Judged(NamedTuple):
    """All that was measured.

    Attributes:
      incumbents: those of every search.
      known: by family.
      winners: the last incumbents of the default strategy's searches; none where there is no noise.
    """

    incumbents: Mapping[Search, Incumbents]
    known: Mapping[str, Known]
    winners: Mapping[Search, Winner]

    @property
    def scale(self) -> Scale:
        """Of how far scores lie above the best known, or off the truth."""
        return Scale.of(
            [known.score for known in self.known.values()],
            *(incumbents.scores for incumbents in self.incumbents.values()),
            *(
                scores
                for winner in self.winners.values()
                for scores in ([winner.naive], winner.fresh, winner.truth)
            ),
        )


class Efficiency(NamedTuple):
    """A strategy on a family, a value a search.

    Attributes:
      family, strategy: which.
      budget: where each search ended, in full-length runs.
      costs: until it knew a near-optimal shape; +inf where it never did.
      excesses: how far its winner lies above the best known, on the scale of all that was judged.
      remained: whether its winner is near-optimal: it may have left for what only seemed better.
    """

    family: str
    strategy: str
    budget: int
    costs: Float[np.ndarray, "seeds"]
    excesses: Float[np.ndarray, "seeds"]
    remained: Bool[np.ndarray, "seeds"]

    def median_cost(self, confidence: float) -> Estimate:
        return median_estimate(self.costs, confidence)

    def reached(self, confidence: float) -> Estimate:
        """The fraction of searches that came to know a near-optimal shape."""
        return fraction_estimate(int(np.isfinite(self.costs).sum()), len(self.costs), confidence)

    def reached_at_end(self, confidence: float) -> Estimate:
        """The fraction whose winner is near-optimal."""
        return fraction_estimate(int(self.remained.sum()), len(self.costs), confidence)

    def excess(self, confidence: float) -> Estimate:
        return median_estimate(self.excesses, confidence)


class Bias(NamedTuple):
    """How the scores of winners differ from the truth, over all of the default strategy's searches.

    Attributes:
      naive, fresh: the mean changes from the truth of the score that chose, and of the one that confirms.
      coverage: the fraction of the confirming scores' intervals that hold the truth.
    """

    naive: Estimate
    fresh: Estimate
    coverage: Estimate


def efficiency(family: str, strategy: str, judged: Judged, tolerance: float, budget: int) -> Efficiency:
    """That of the searches of a family by a strategy."""
    best = judged.known[family]
    bound = best.near(tolerance)
    incumbents = [
        known
        for search, known in judged.incumbents.items()
        if (search.family, search.strategy) == (family, strategy)
    ]
    costs = np.array([known.cost_to_reach(bound) for known in incumbents])
    ends = np.array([known.scores[-1] for known in incumbents])
    excesses = judged.scale.changes(ends, best.score)
    return Efficiency(family, strategy, budget, costs, excesses, ends <= bound)


def bias(judged: Judged, confidence: float) -> Bias | None:
    """None where the scores have no noise."""
    winners, scale = list(judged.winners.values()), judged.scale
    if not winners:
        return None
    truths = np.array([np.median(winner.truth) for winner in winners])
    fresh = [median_estimate(winner.fresh, confidence) for winner in winners]
    held = sum(score.low <= truth <= score.high for score, truth in zip(fresh, truths, strict=True))
    return Bias(
        student_estimate(scale.changes([winner.naive for winner in winners], truths), confidence),
        student_estimate(scale.changes([score.value for score in fresh], truths), confidence),
        fraction_estimate(int(held), len(winners), confidence),
    )


def student_estimate(values: Float[np.ndarray, "values"], confidence: float) -> Estimate:
    """The mean of normal values with Student's interval.

    >>> [round(x, 3) for x in student_estimate(np.array([1.0, 3.0]), 0.5)]
    [2.0, 1.0, 3.0]
    """
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = error * float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    return Estimate(mean, mean - half, mean + half)


def cost_ratio(
    costs: Float[np.ndarray, "seeds"], others: Float[np.ndarray, "seeds"], budget: float, confidence: float
) -> Estimate:
    """The ratio of two median costs; where the other searches did not arrive, they count as if at the end of
    their budget, which can only make the ratio larger."""
    change = median_change(costs, np.minimum(others, budget), confidence, Scale.RELATIVE)
    return Estimate(*(1 + value for value in change))


def median_error(scores: Float[np.ndarray, "scores"], replicates: int) -> float:
    """The standard error of the median over that many replicates with scores like these, by the bootstrap;
    +inf where so many diverged that the median may."""
    draws = np.random.default_rng(0).choice(scores, (1_000, replicates))
    medians = np.median(draws, axis=1)
    return float(np.std(medians)) if np.isfinite(medians).all() else math.inf
