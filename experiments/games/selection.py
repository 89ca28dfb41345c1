"""What choosing among more settings is worth by itself: no method is compared with another."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from experiments.games.config import Selection
from schedules.search import Estimate, mean_estimate

UNKNOWN = Estimate(np.nan, np.nan, np.nan)

Scores = Float[np.ndarray, "settings replicates"]


class BestMean(NamedTuple):
    """The expected mean score of the best of some runs.

    Attributes:
      told: by the runs that chose them.
      kept: by the other seeds of the same settings.
    """

    told: float
    kept: float


class Gain(NamedTuple):
    """The fraction by which the best of many settings score less than the best of few; see `BestMean`."""

    told: Estimate
    kept: Estimate


def selection_gain(scores: Sequence[Scores], options: Selection, confidence: float) -> Gain:
    """The mean over methods, each of which is compared with itself; those that always diverged say
    nothing."""

    def least(count: int) -> Float[np.ndarray, "methods 2"]:
        return np.array([best_mean(values, count, options.averaged_settings) for values in scores])

    gains = 1 - least(options.many_settings) / least(options.few_settings)
    gains = gains[np.isfinite(gains).all(axis=1)]
    if not len(gains):
        return Gain(UNKNOWN, UNKNOWN)
    return Gain(*(mean_estimate(values, confidence) for values in gains.T))


def best_mean(scores: Scores, count: int, averaged: int) -> BestMean:
    """Of `count` runs drawn from those of a method, the mean of the `averaged` best; of all where there are
    fewer.

    A run takes its expected share of the places: the i best of all m runs take E[min(k, Binomial(n, i/m))] of
    k. Settings with a run that diverged are left out; NaN where there are no others.

    >>> best_mean(np.array([[1.0, 3.0], [2.0, 2.0]]), 2, 1)
    BestMean(told=1.625, kept=2.375)
    """
    finite = scores[np.isfinite(scores).all(axis=1)]
    if not len(finite):
        return BestMean(np.nan, np.nan)
    others = (np.sum(finite, axis=1, keepdims=True) - finite) / (finite.shape[1] - 1)
    order = np.argsort(finite, axis=None, kind="stable")
    shares = _shares(len(order), count, min(averaged, count))
    told, kept = (float(shares @ values.ravel()[order]) for values in (finite, others))
    return BestMean(told, kept)


def _shares(runs: int, count: int, places: int) -> Float[np.ndarray, "runs"]:
    """Of each run, the best first."""
    chances = np.arange(runs + 1) / runs
    # E[min(k, X)] = P(X ≥ 1) + … + P(X ≥ k)
    filled = stats.binom.sf(np.arange(places)[:, None], count, chances[None, :]).sum(axis=0)
    return np.diff(filled) / places
