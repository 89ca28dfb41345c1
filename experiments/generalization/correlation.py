"""How well predictors rank the generalisation gap, and how sure that is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from schedules.search import Estimate
from schedules.search.scoring import RESAMPLES


class Correlations(NamedTuple):
    """Spearman's rank correlations of predictors with the gap, and what resampled candidates make of them.

    Over all runs, and within each train size, in ascending order: there the size itself explains nothing.
    """

    overall: Float[np.ndarray, "predictors"]
    by_size: Float[np.ndarray, "sizes predictors"]
    resampled_overall: Float[np.ndarray, "resamples predictors"]
    resampled_by_size: Float[np.ndarray, "resamples sizes predictors"]


def rank_correlations(
    predictions: Float[np.ndarray, "predictors runs"], gaps: Float[np.ndarray, "runs"]
) -> Float[np.ndarray, "predictors"]:
    """Spearman's rank correlation of every predictor with the gaps; zero for a constant.

    >>> rank_correlations(np.array([[1.0, 4.0, 9.0], [1.0, 1.0, 1.0]]), np.array([0.1, 0.2, 0.3]))
    array([1., 0.])
    """
    ranks = stats.rankdata(np.vstack([predictions, gaps[None, :]]), axis=1)
    centred = ranks - (len(gaps) + 1) / 2
    lengths = np.linalg.norm(centred, axis=1)
    products = lengths[:-1] * lengths[-1]
    return centred[:-1] @ centred[-1] / np.where(products > 0, products, 1)


def correlations(
    predictions: Float[np.ndarray, "predictors runs"],
    gaps: Float[np.ndarray, "runs"],
    sizes: Int[np.ndarray, "runs"],
    candidates: Int[np.ndarray, "runs"],
) -> Correlations:
    """The rank correlations, and those of resampled candidates: all runs of a candidate stay together."""

    def measure(rows):
        of_sizes = [rows[sizes[rows] == size] for size in np.unique(sizes)]
        within = [rank_correlations(predictions[:, chosen], gaps[chosen]) for chosen in of_sizes]
        return rank_correlations(predictions[:, rows], gaps[rows]), np.stack(within)

    rng = np.random.default_rng(0)
    members = [np.flatnonzero(candidates == candidate) for candidate in np.unique(candidates)]
    draws = rng.integers(len(members), size=(RESAMPLES, len(members)))
    resampled = [measure(np.concatenate([members[k] for k in draw])) for draw in draws]
    return Correlations(*measure(np.arange(len(gaps))), *map(np.stack, zip(*resampled, strict=True)))


def percentile_estimate(
    value: float, resampled: Float[np.ndarray, "resamples"], confidence: float
) -> Estimate:
    """A value with the percentile interval of its resampled values."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(value), float(low), float(high))
