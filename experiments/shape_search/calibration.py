"""Does the model of curves know families that it never saw? Each is predicted from the runs of all others."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from experiments.study.showing.claims import Claim, at_least, within
from experiments.study.statistics.resampled import percentile_estimate, rank_correlations, resamples_of
from schedules import CurveModel
from schedules.search.curve_runs import is_enough
from schedules.search.curves import Scores
from schedules.search.left_out import left_out

FEWEST = 8  # different curves of a family; fewer have no ranks to speak of
LEVEL = 0.95  # of the intervals that are judged
DIGITS = 6  # of a level that are kept

# by family, of each run that did not diverge: the low end of its interval, the median, the high end, and what
# the model expects that is told of all families
Predicted = Mapping[str, Sequence[Sequence[float]]]


class LeftOut(NamedTuple):
    """The runs of a family, and what the model that never saw it says of each, all as levels of scores.

    Attributes:
      measured: of the runs that did not diverge.
      low, median, high: of a run with a new seed, at `LEVEL`.
      known: the medians of the model that is told of these runs too.
    """

    measured: Float[np.ndarray, "runs"]
    low: Float[np.ndarray, "runs"]
    median: Float[np.ndarray, "runs"]
    high: Float[np.ndarray, "runs"]
    known: Float[np.ndarray, "runs"]

    @property
    def correlation(self) -> float:
        """Spearman's, of medians with what was measured."""
        return float(rank_correlations(self.median[None], self.measured)[0])

    @property
    def known_correlation(self) -> float:
        """The same of the model that is told of these runs: what it misses is the luck of a run."""
        return float(rank_correlations(self.known[None], self.measured)[0])

    @property
    def error(self) -> float:
        """The root mean square of measured levels minus medians."""
        return float(np.sqrt(np.mean((self.measured - self.median) ** 2)))

    @property
    def inside(self) -> Bool[np.ndarray, "runs"]:
        """Which were measured within their interval."""
        return (self.low <= self.measured) & (self.measured <= self.high)

    @property
    def covered(self) -> float:
        """The share of them."""
        return float(np.mean(self.inside))


def predicted(model: CurveModel, scores: Scores) -> Predicted:
    """What the model says of the runs of each family when it is told of those of all others, with the
    parameters that were fitted to all; of families with `FEWEST` different curves at least."""
    values, seeds = np.array(list(scores.values())), [trial.replicate for trial in scores]
    if not is_enough(values):
        return {}
    curves = np.stack([trial.learning_rates for trial in scores])
    names = np.array([trial.candidate.family.name for trial in scores])
    tails = np.array([(1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2])
    levels = np.stack([*left_out(model, curves, values, seeds, names.tolist(), tails), model.means(curves)])
    by_family = {}
    for name in dict.fromkeys(names.tolist()):
        own = (names == name) & np.isfinite(values)
        if len(np.unique(curves[own], axis=0)) >= FEWEST:
            by_family[name] = [[float(f"{level:.{DIGITS}g}") for level in run] for run in levels[:, own].T]
    return by_family


def beside_measured(model: CurveModel, scores: Scores, by_family: Predicted) -> dict[str, LeftOut]:
    """What is predicted beside what was measured, by family."""
    measured = {name: [] for name in by_family}
    for trial, score in scores.items():
        if trial.candidate.family.name in measured and np.isfinite(score):
            measured[trial.candidate.family.name].append(score)
    levels = {name: model.values.scale.levels(np.array(runs)) for name, runs in measured.items()}
    return {name: LeftOut(levels[name], *np.array(runs).T) for name, runs in by_family.items()}


def claims(families: Mapping[str, LeftOut], confidence: float) -> list[Claim]:
    """What a model of curves should do for families that it never saw; intervals by resampling families."""
    if not families:
        return []
    correlations = np.array([family.correlation for family in families.values()])
    runs = np.array([len(family.measured) for family in families.values()])
    covered = np.array([np.sum(family.inside) for family in families.values()])
    drawn = resamples_of(len(families))
    medians = np.median(correlations[drawn], axis=1)
    shares = np.sum(covered[drawn], axis=1) / np.sum(runs[drawn], axis=1)
    correlation = percentile_estimate(np.median(correlations), medians, confidence)
    share = percentile_estimate(np.sum(covered) / np.sum(runs), shares, confidence)
    return [
        Claim("rank correlation of a family left out", "the median family", correlation, at_least(0.75)),
        Claim(f"runs left out inside {LEVEL:.0%} intervals", "all families", share, within(0.9, 0.98)),
    ]
