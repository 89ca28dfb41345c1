"""What choosing among more settings is worth by itself, where methods are equally good."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import integrate, stats

from experiments.games.config import Selection
from experiments.study.statistics.resampled import Resampled
from schedules.search import Estimate

Scores = Float[np.ndarray, "settings replicates"]
Variances = Float[np.ndarray, "*resamples methods 2"]  # between settings, and between seeds

UNKNOWN = Estimate(math.nan, math.nan, math.nan)


class Gain(NamedTuple):
    """1 - e^-g: by what fraction the best of many settings score less than the best of few.

    Attributes:
      told: by the runs that chose them.
      kept: by other runs of them.
    """

    told: Estimate
    kept: Estimate


def selection_gain(scores: Sequence[Scores], options: Selection, confidence: float) -> Gain:
    """By the spread that the scores of several methods have, with intervals over methods.

    The logarithms of scores are taken as normal, between settings with variance u and between seeds with v,
    and a setting as chosen by one run: told is g = √(u + v) Δ and kept g = u/√(u + v) Δ, where Δ is what
    `best_of` gains. Not known where no method has two settings that never diverged.
    """
    found = [log_variances(values) for values in map(_finite, scores) if len(values) > 1]
    if not found:
        return Gain(UNKNOWN, UNKNOWN)
    few, many = (best_of(n, options.averaged_settings) for n in (options.few_settings, options.many_settings))

    def gain(place: int) -> Estimate:
        def statistic(variances: Variances) -> Float[np.ndarray, "*resamples"]:
            settings, seeds = np.moveaxis(np.mean(variances, axis=-2), -1, 0)
            told = np.sqrt(settings + seeds)
            return -np.expm1(-(few - many) * (told, settings / told)[place])

        return Resampled.of(statistic, np.array(found)).estimate(confidence)

    return Gain(gain(0), gain(1))


def best_of(settings: int, averaged: int) -> float:
    """The expected mean of the `averaged` least of so many standard normal numbers; of all where there are
    fewer: ∫ x (n/k) φ(x) P(Binomial(n - 1, Φ(x)) < k) dx.

    >>> round(best_of(25, 10), 2), round(best_of(75, 10), 2)
    (-0.94, -1.59)
    """
    least = min(averaged, settings)

    def integrand(x: float) -> float:
        return x * stats.norm.pdf(x) * stats.binom.cdf(least - 1, settings - 1, stats.norm.cdf(x))

    return settings / least * integrate.quad(integrand, -10, 10)[0]


def log_variances(scores: Scores) -> Float[np.ndarray, "2"]:
    """Of the logarithms of a method's scores: between its settings, less what seeds make of it and at least
    0, and between the seeds of a setting."""
    levels = np.log(scores)
    seeds = np.mean(np.var(levels, axis=1, ddof=1))
    settings = np.var(np.mean(levels, axis=1), ddof=1) - seeds / levels.shape[1]
    return np.array([max(settings, 0.0), seeds])


def _finite(scores: Scores) -> Scores:
    return scores[np.isfinite(scores).all(axis=1)]
