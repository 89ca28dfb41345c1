"""How choices are judged: by how far they lie above the best curve known, by seeds that chose neither."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.search_efficiency.all_shapes.config import AllShapes, Contestant, Search
from experiments.search_efficiency.searches import numbered
from experiments.study.statistics.resampled import outward_estimate, resamples_of
from schedules.search import Candidate, Estimate, Rung, Scale, median_estimate
from schedules.search.racing import Evaluate, median_scores
from schedules.search.scoring import expanded_confidence

JUDGE, FINALS = "judge", "finals"  # stages
MOST = 0.9  # of the searches, which a contestant's worse end leaves out


class Excesses(NamedTuple):
    """How far the choices of a contestant's searches lie above the best curve known.

    Attributes:
      contestant: whose.
      values: on the scale of all that was judged, a row a search, a column a checkpoint.
    """

    contestant: Contestant
    values: Float[np.ndarray, "searches checkpoints"]

    @property
    def medians(self) -> Float[np.ndarray, "checkpoints"]:
        return np.median(self.values, axis=0)

    @property
    def worse_ends(self) -> Float[np.ndarray, "checkpoints"]:
        return worse_end(self.values, axis=0)

    def median(self, place: int, confidence: float) -> Estimate:
        return median_estimate(self.values[:, place], confidence)

    def resampled(self, place: int) -> Float[np.ndarray, "resamples searches"]:
        """The values at a checkpoint of every bootstrap resample of the searches."""
        return self.values[resamples_of(len(self.values)), place]


def worse_end(excesses: Float[np.ndarray, "*searches"], axis: int = -1) -> Float[np.ndarray, "*rest"]:
    """The 90th percentile: what nine of ten searches are at most above the best.

    >>> float(worse_end(np.arange(20.0)))
    17.0
    """
    return np.quantile(excesses, MOST, axis=axis, method="inverted_cdf")


def judge(
    named: Sequence[Candidate], first: int, config: AllShapes, evaluate: Evaluate
) -> dict[Candidate, float]:
    """The medians of a search's choices over fresh seeds, the same for all searches; each is judged once.

    `first` is the number of the first one among all choices.
    """
    distinct = list(dict.fromkeys(named))
    rung = Rung(config.fresh_replicates, config.num_steps)
    return dict(zip(distinct, median_scores(JUDGE, numbered(distinct, first), rung, evaluate), strict=True))


def final_scores(candidates: Sequence[Candidate], config: AllShapes, evaluate: Evaluate) -> list[float]:
    """The medians of those that may be the best known, over many other seeds."""
    rung = Rung(config.truth_replicates, config.num_steps)
    return median_scores(FINALS, numbered(candidates), rung, evaluate)


def excesses(
    chosen: Mapping[Search, Sequence[Candidate]],
    judged: Mapping[Candidate, float],
    best: float,
    scale: Scale,
) -> list[Excesses]:
    """Of every contestant."""
    grouped: dict[Contestant, list[list[float]]] = {}
    for search, named in chosen.items():
        grouped.setdefault(search.contestant, []).append([judged[candidate] for candidate in named])
    return [Excesses(name, scale.changes(np.array(scores), best)) for name, scores in grouped.items()]


def resampled_apart(
    first: Excesses, other: Excesses, place: int
) -> tuple[Float[np.ndarray, "resamples searches"], Float[np.ndarray, "resamples others"]]:
    """Resamples of each; those of the other in the opposite order, as no search of one is another's."""
    return first.resampled(place), other.resampled(place)[::-1]


def difference(first: Excesses, other: Excesses, place: int, confidence: float) -> Estimate:
    """How far one median lies above another, each of whose searches are resampled; NaN where both never
    end."""
    drawn, others = resampled_apart(first, other, place)
    with np.errstate(invalid="ignore"):
        value = first.medians[place] - other.medians[place]
        draws = np.median(drawn, axis=1) - np.median(others, axis=1)
    return _estimate(value, draws, first, other, confidence)


def ratio(first: Excesses, other: Excesses, place: int, confidence: float) -> Estimate:
    """The 90th percentile of one over that of another."""
    drawn, others = resampled_apart(first, other, place)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = first.worse_ends[place] / other.worse_ends[place]
        draws = worse_end(drawn) / worse_end(others)
    return _estimate(value, draws, first, other, confidence)


def _estimate(
    value: float, draws: Float[np.ndarray, "resamples"], first: Excesses, other: Excesses, confidence: float
) -> Estimate:
    level = expanded_confidence(confidence, min(len(first.values), len(other.values)))
    return outward_estimate(value, draws, level, least=-np.inf)
