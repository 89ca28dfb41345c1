"""How well predictors rank the generalisation gap, and how sure that is."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from experiments.study.statistics.rank_correlation import rank_correlations
from schedules.search.scoring import RESAMPLES


class Correlations(NamedTuple):
    """Spearman's rank correlations of predictors with the gap, and what resampled candidates make of them.

    Over all runs, and within each train size, in ascending order: there the size itself explains nothing.
    """

    overall: Float[np.ndarray, "predictors"]
    by_size: Float[np.ndarray, "sizes predictors"]
    resampled_overall: Float[np.ndarray, "resamples predictors"]
    resampled_by_size: Float[np.ndarray, "resamples sizes predictors"]


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
