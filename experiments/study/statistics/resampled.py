"""A number, such as a rank correlation, and what it is on every bootstrap resample; intervals from both."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Int
from scipy import stats

from schedules.search import Estimate
from schedules.search.scoring import RESAMPLES, expanded_confidence


class Resampled(NamedTuple):
    """A positive number, and what it is on every resample of the replicates; NaN where not known."""

    value: float
    draws: Float[np.ndarray, "resamples"]
    replicates: int

    @classmethod
    def of(
        cls,
        statistic: Callable[[Float[np.ndarray, "*resamples replicates sizes"]], ArrayLike],
        values: Float[np.ndarray, "replicates sizes"],
    ) -> "Resampled":
        """A statistic of all replicates, and of each resample of them; see `resamples_of`."""
        count = len(values)
        return cls(float(statistic(values)), statistic(values[resamples_of(count)]), count)

    def over(self, other: "Resampled") -> "Resampled":
        """The ratio, paired by resample; not known where either is zero, infinite or not known itself."""
        ratio, draws = _ratio(self.value, other.value), _ratio(self.draws, other.draws)
        return Resampled(float(ratio), draws, self.replicates)

    def estimate(self, confidence: float) -> Estimate:
        """With expanded percentiles: about as often as it says for normal noise, less often for skewed."""
        return outward_estimate(self.value, self.draws, expanded_confidence(confidence, self.replicates))


def resamples_of(count: int) -> Int[np.ndarray, "resamples {count}"]:
    """1,000 bootstrap resamples of so many; the same in every call."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def cluster_resamples(clusters: Int[np.ndarray, "rows"]) -> list[Int[np.ndarray, "drawn"]]:
    """The rows of resamples of their clusters, such as the runs of a candidate: all of one or none."""
    members = [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)]
    return [np.concatenate([members[place] for place in draw]) for draw in resamples_of(len(members))]


def outward_estimate(
    value: ArrayLike, resampled: Float[np.ndarray, "resamples"], confidence: float, least: float = 0.0
) -> Estimate:
    """A value with the percentile interval of its resampled values, where NaN is a value not known.

    It then counts as the `least` there is for the lower end and as infinite for the upper one. Percentiles of
    few replicates are too close: ask for those of `expanded_confidence`.

    >>> outward_estimate(2.0, np.array([1.0, 2.0, 3.0, np.inf]), 0.9)
    Estimate(value=2.0, low=1.0, high=inf)
    >>> outward_estimate(2.0, np.array([1.0, 2.0, 3.0, np.nan]), 0.9)
    Estimate(value=2.0, low=0.0, high=inf)
    """
    unknown = np.isnan(resampled)
    lower, upper = np.where(unknown, least, resampled), np.where(unknown, np.inf, resampled)
    # ends among the values, outwards: between a number and infinity nothing can be interpolated
    low = np.quantile(lower, (1 - confidence) / 2, method="lower")
    high = np.quantile(upper, (1 + confidence) / 2, method="higher")
    return Estimate(float(value), float(low), float(high))


def percentile_estimate(
    value: float, resampled: Float[np.ndarray, "resamples"], confidence: float
) -> Estimate:
    """A value with the percentile interval of its resampled values.

    Of a rank correlation over eight runs and more it holds the true one as often as it says. Of means over
    few replicates it does not: ask for that of `schedules.search.scoring.expanded_confidence`.
    """
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high))


def _ratio(numbers: ArrayLike, others: ArrayLike) -> ArrayLike:
    determined = np.isfinite(numbers) & np.isfinite(others) & (np.minimum(numbers, others) > 0)
    return np.where(determined, numbers, np.nan) / np.where(determined, others, np.nan)


def rank_correlations(
    predictions: Float[np.ndarray, "*draws predictors runs"], measured: Float[np.ndarray, "*draws runs"]
) -> Float[np.ndarray, "*draws predictors"]:
    """Spearman's rank correlation of every predictor with what was measured, in each draw of runs; zero for a
    constant.

    >>> rank_correlations(np.array([[1.0, 4.0, 9.0], [1.0, 1.0, 1.0]]), np.array([0.1, 0.2, 0.3]))
    array([1., 0.])
    """
    ranks = stats.rankdata(np.concatenate([predictions, measured[..., None, :]], axis=-2), axis=-1)
    centred = ranks - (measured.shape[-1] + 1) / 2
    lengths = np.linalg.norm(centred, axis=-1)
    products = lengths[..., :-1] * lengths[..., -1:]
    return np.vecdot(centred[..., :-1, :], centred[..., -1:, :]) / np.where(products > 0, products, 1)


class Correlations(NamedTuple):
    """Each predictor's correlation with what was measured, and what resampled runs make of it.

    Attributes:
      names: of the predictors.
      values: the correlation of each.
      resampled: the same of each resample of the runs.
      confidence: the level of intervals.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "predictors"]
    resampled: Float[np.ndarray, "resamples predictors"]
    confidence: float

    @property
    def best_first(self) -> list[str]:
        """The names, the highest correlation first."""
        return [self.names[place] for place in np.argsort(-self.values, kind="stable")]

    def estimate(self, name: str) -> Estimate:
        """A predictor's correlation with its percentile interval."""
        place = self.names.index(name)
        return percentile_estimate(self.values[place], self.resampled[:, place], self.confidence)

    def lead(self, name: str, other: str) -> Estimate:
        """How far one correlation lies above another, paired by resample."""
        first, second = self.names.index(name), self.names.index(other)
        leads = self.resampled[:, first] - self.resampled[:, second]
        return percentile_estimate(self.values[first] - self.values[second], leads, self.confidence)


def correlations(
    predictions: Mapping[str, Float[np.ndarray, "runs"]],
    measured: Float[np.ndarray, "runs"],
    rows: Int[np.ndarray, "chosen"],
    draws: Sequence[Int[np.ndarray, "drawn"]],
    confidence: float,
) -> Correlations:
    """The rank correlations over some rows of the runs, and over each draw of them."""
    table = np.stack(list(predictions.values()))
    resampled, lengths = np.empty((len(draws), len(table))), np.array([len(draw) for draw in draws])
    for length in np.unique(lengths):  # of clusters, which differ in size
        places = np.flatnonzero(lengths == length)
        alike = np.stack([draws[place] for place in places])
        for number, predicted in enumerate(table):  # all at once would take gigabytes
            (resampled[places, number],) = rank_correlations(predicted[alike][:, None], measured[alike]).T
    values = rank_correlations(table[:, rows], measured[rows])
    return Correlations(tuple(predictions), values, resampled, confidence)
