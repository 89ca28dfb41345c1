"""Scores of replicated runs, and how sure they are. Lower is better; a run that diverged scores +inf.

The bootstrap's intervals are too short for few replicates, and those of medians also too coarse. Below `FEW`,
a median's interval therefore lies between two order statistics, whose coverage is binomial and holds for
every distribution; what depends on two medians, or on a mean, has percentiles that are moved outwards as
Student's distribution says (Hesterberg, 2015, "What teachers should know about the bootstrap",
doi:10.1080/00031305.2015.1089789, the expanded percentile interval). For medians those hold the truth more
often than they say.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from schedules.search.scale import Scale, as_scores

FEW = 30  # replicates; from as many on the bootstrap is as good as it says
RESAMPLES = 1_000
HUGE = 1e300  # stands for +inf where a resampling needs numbers


class Estimate(NamedTuple):
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


def median_estimate(scores: Float[np.ndarray, "replicates"], confidence: float = 0.95) -> Estimate:
    """The median with its interval: `between_order_statistics` for fewer than 30 replicates, else the BCa
    bootstrap (1,000 resamples).

    Diverged replicates count as +inf: the percentile interval then takes BCa's place, whose correction
    needs finite numbers. Raises ValueError for NaN and -inf.
    """
    scores = as_scores(scores)
    if len(scores) < FEW:
        return between_order_statistics(scores, confidence)
    return _bootstrap(np.median, (scores,), confidence)


def mean_estimate(scores: Float[np.ndarray, "replicates"], confidence: float = 0.95) -> Estimate:
    """The mean with its bootstrap interval, infinite for a single replicate."""
    scores = as_scores(scores)
    if len(scores) == 1:
        return Estimate(float(scores[0]), -math.inf, math.inf)
    return _bootstrap(np.mean, (scores,), confidence)


def median_change(
    scores: Float[np.ndarray, "replicates"],
    reference: Float[np.ndarray, "replicates"],
    confidence: float = 0.95,
    scale: Scale | None = None,
) -> Estimate:
    """The change of the median over paired replicates (equal keys), so that what they share cancels.

    On the RELATIVE scale median(scores) / median(reference) - 1, on the ABSOLUTE one `median_difference`;
    where none is given it is the `Scale.of` these scores. NaN where the reference's median is infinite.
    """
    scores, reference = as_scores(scores), as_scores(reference)
    scale = scale or Scale.of(scores, reference)
    if scale is Scale.ABSOLUTE:
        return median_difference(scores, reference, confidence)

    def change(scores, reference, axis=-1):
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.median(scores, axis=axis) / np.median(reference, axis=axis) - 1

    return _of_two_medians(change, scores, reference, confidence)


def median_difference(
    scores: Float[np.ndarray, "replicates"],
    reference: Float[np.ndarray, "replicates"],
    confidence: float = 0.95,
) -> Estimate:
    """median(scores) - median(reference), bootstrapped over pairs: defined for scores of any sign. NaN where
    the reference's median is infinite; the interval is infinite for fewer than `least_replicates`."""

    def difference(scores, reference, axis=-1):
        return np.median(scores, axis=axis) - np.median(reference, axis=axis)

    return _of_two_medians(difference, as_scores(scores), as_scores(reference), confidence)


def between_order_statistics(values: Float[np.ndarray, "replicates"], confidence: float = 0.95) -> Estimate:
    """The median with an interval that holds that of any distribution at least as often as it says.

    From the k-th smallest to the k-th largest of n it does so with probability 1 - 2 P(Binomial(n, ½) < k); k
    is the largest for which that reaches `confidence`. For fewer than `least_replicates(confidence)` values
    there is none, and the interval is infinite.

    >>> between_order_statistics(np.array([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]))
    Estimate(value=3.5, low=1.0, high=6.0)
    """
    ordered = np.sort(values)
    count = len(ordered)
    rank = int(np.sum(2 * scipy.stats.binom.cdf(np.arange(count), count, 0.5) <= 1 - confidence))
    low, high = (ordered[rank - 1], ordered[-rank]) if rank > 0 else (-math.inf, math.inf)
    centre = ordered[(count - 1) // 2], ordered[count // 2]
    # as many below any number as above: no change, where these are changes
    median = np.mean(centre) if centre[0] > -math.inf or centre[1] < math.inf else 0.0
    return Estimate(float(median), float(low), float(high))


def expanded_confidence(confidence: float, replicates: int) -> float:
    """That of the percentiles which an interval of this confidence ends at, after resampling replicates.

    Below `FEW` its normal quantile is Student's times sqrt(n / (n - 1)), by which the spread of resamples is
    too small (Hesterberg, 2015); from there on it is the confidence itself.

    >>> round(expanded_confidence(0.95, 8), 3), expanded_confidence(0.95, 30)
    (0.989, 0.95)
    """
    if replicates >= FEW:
        return confidence
    student = scipy.stats.t.ppf((1 - confidence) / 2, replicates - 1)
    return float(1 - 2 * scipy.stats.norm.cdf(math.sqrt(replicates / (replicates - 1)) * student))


def least_replicates(confidence: float) -> int:
    """The fewest replicates of which the interval of a median is finite: 1 - 2^(1-n) ≥ confidence.

    >>> least_replicates(0.95)
    6
    """
    return math.ceil(1 - math.log2(1 - confidence))


def dkw_half_width(count: int, confidence: float = 0.95) -> float:
    """Half the width of the band that holds a whole distribution function with the given confidence,
    ε = sqrt(ln(2/α) / (2n)) around the empirical one (Dvoretzky, Kiefer and Wolfowitz; Massart's constant).

    >>> round(dkw_half_width(100), 4)
    0.1358
    """
    return math.sqrt(math.log(2 / (1 - confidence)) / (2 * count))


def _of_two_medians(statistic, scores: np.ndarray, reference: np.ndarray, confidence: float) -> Estimate:
    if math.isinf(np.median(reference)):
        return Estimate(math.nan, math.nan, math.nan)
    if len(scores) < least_replicates(confidence):
        return Estimate(float(statistic(scores, reference)), -math.inf, math.inf)
    return _bootstrap(statistic, (scores, reference), confidence)


def _bootstrap(statistic, samples: tuple[np.ndarray, ...], confidence: float) -> Estimate:
    value, count = float(statistic(*samples)), len(samples[0])
    if all(np.ptp(np.nan_to_num(sample, posinf=HUGE)) == 0 for sample in samples):
        return Estimate(value, value, value)
    if count < FEW:
        return Estimate(
            value, *_interval(statistic, samples, expanded_confidence(confidence, count), "percentile")
        )
    finite = all(np.isfinite(sample).all() for sample in samples)
    low, high = _interval(statistic, samples, confidence, "BCa" if finite else "percentile")
    if math.isnan(low) or math.isnan(high):  # BCa has no answer where leaving one out never moves the median
        low, high = _interval(statistic, samples, confidence, "percentile")
    return Estimate(value, low, high)


def _interval(
    statistic, samples: tuple[np.ndarray, ...], confidence: float, method: str
) -> tuple[float, float]:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        result = scipy.stats.bootstrap(
            tuple(np.nan_to_num(sample, posinf=HUGE) for sample in samples),
            statistic,
            paired=len(samples) > 1,
            vectorized=True,
            n_resamples=RESAMPLES,
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(0),
        )
    low, high = (
        math.copysign(math.inf, end) if abs(end) > HUGE / 1e100 else float(end)
        for end in result.confidence_interval
    )
    return low, high
