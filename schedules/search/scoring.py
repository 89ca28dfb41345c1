"""Scores of replicated runs, and how sure they are. Lower is better; a run that diverged scores +inf."""

import math
import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

RESAMPLES = 1_000
HUGE = 1e300  # stands for +inf where a resampling needs numbers


class Estimate(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


def median_estimate(scores: Float[np.ndarray, "replicates"], confidence: float = 0.95) -> Estimate:
    """The median with its BCa bootstrap interval (1,000 resamples).

    Diverged replicates count as +inf: the percentile interval then takes BCa's place, whose correction
    needs finite numbers. Raises ValueError for NaN.
    """
    return _bootstrap(np.median, (np.asarray(scores, np.float64),), confidence)


def mean_estimate(scores: Float[np.ndarray, "replicates"], confidence: float = 0.95) -> Estimate:
    """The mean with its bootstrap interval, as `median_estimate` has it for the median."""
    return _bootstrap(np.mean, (np.asarray(scores, np.float64),), confidence)


def median_change(
    scores: Float[np.ndarray, "replicates"],
    reference: Float[np.ndarray, "replicates"],
    confidence: float = 0.95,
) -> Estimate:
    """The relative change of the median, median(scores) / median(reference) - 1, bootstrapped over pairs.

    The replicates are paired (equal keys), so what they share cancels. NaN where the reference's median is
    zero or infinite.
    """
    samples = np.asarray(scores, np.float64), np.asarray(reference, np.float64)
    if not 0 < np.median(samples[1]) < math.inf:
        return Estimate(math.nan, math.nan, math.nan)

    def change(scores, reference, axis=-1):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.median(scores, axis=axis) / np.median(reference, axis=axis) - 1

    return _bootstrap(change, samples, confidence)


def median_difference(
    scores: Float[np.ndarray, "replicates"],
    reference: Float[np.ndarray, "replicates"],
    confidence: float = 0.95,
) -> Estimate:
    """median(scores) - median(reference), bootstrapped over pairs; defined where the reference's median is 0,
    as errors often are, and a relative change is not. NaN where the reference's median is infinite."""
    samples = np.asarray(scores, np.float64), np.asarray(reference, np.float64)
    if math.isinf(np.median(samples[1])):
        return Estimate(math.nan, math.nan, math.nan)

    def difference(scores, reference, axis=-1):
        return np.median(scores, axis=axis) - np.median(reference, axis=axis)

    return _bootstrap(difference, samples, confidence)


def dkw_half_width(count: int, confidence: float = 0.95) -> float:
    """Half the width of the band that holds a whole distribution function with the given confidence,
    ε = sqrt(ln(2/α) / (2n)) around the empirical one (Dvoretzky, Kiefer and Wolfowitz; Massart's constant).

    >>> round(dkw_half_width(100), 4)
    0.1358
    """
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * count))


def _bootstrap(statistic, samples: tuple[np.ndarray, ...], confidence: float) -> Estimate:
    if any(np.isnan(sample).any() for sample in samples):
        raise ValueError("scores must be numbers or +inf where a run diverged, got NaN")
    value = float(statistic(*samples))
    if len(samples[0]) == 1 or all(np.ptp(np.nan_to_num(sample, posinf=HUGE)) == 0 for sample in samples):
        spread = math.inf if len(samples[0]) == 1 else 0.0  # one replicate tells nothing of the spread
        return Estimate(value, value - spread, value + spread)
    finite = all(np.isfinite(sample).all() for sample in samples)
    low, high = _interval(statistic, samples, confidence, "BCa" if finite else "percentile")
    if math.isnan(low) or math.isnan(high):  # BCa has no answer where leaving one out never moves the median
        low, high = _interval(statistic, samples, confidence, "percentile")
    return Estimate(value, low, high)


def _interval(
    statistic, samples: tuple[np.ndarray, ...], confidence: float, method: str
) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            tuple(np.nan_to_num(sample, posinf=HUGE) for sample in samples),
            statistic,
            paired=len(samples) > 1,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(0),
        )
    low, high = (math.inf if end > HUGE / 1e100 else float(end) for end in result.confidence_interval)
    return low, high
