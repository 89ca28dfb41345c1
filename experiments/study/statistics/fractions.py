"""Fractions of runs, such as of those that came to something, with their intervals."""

from scipy import stats

from schedules.search import Estimate


def fraction_estimate(successes: int, trials: int, confidence: float) -> Estimate:
    """A fraction with its exact binomial interval (Clopper and Pearson).

    >>> [round(x, 3) for x in fraction_estimate(20, 20, 0.95)]
    [1.0, 0.832, 1.0]
    """
    interval = stats.binomtest(successes, trials).proportion_ci(confidence)
    return Estimate(successes / trials, float(interval.low), float(interval.high))
