"""How searches are judged: by what they cost until they knew a near-optimal shape."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.search_efficiency.searches import Incumbents, Search
from schedules.search import Estimate, Scale, median_change


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


def fraction_estimate(successes: int, trials: int, confidence: float) -> Estimate:
    """A fraction with its exact binomial interval (Clopper and Pearson).

    >>> [round(x, 3) for x in fraction_estimate(20, 20, 0.95)]
    [1.0, 0.832, 1.0]
    """
    interval = stats.binomtest(successes, trials).proportion_ci(confidence)
    return Estimate(successes / trials, float(interval.low), float(interval.high))


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
