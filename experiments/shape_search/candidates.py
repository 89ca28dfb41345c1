"""What a family's screened candidates say beyond who won: pure functions of their scores."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from experiments.shape_search.prediction import curve_of
from schedules import CurveModel
from schedules.search import Candidate, Raced, Standing


def best_so_far(raced: Sequence[Raced]) -> Float[np.ndarray, "candidates"]:
    """The lowest score on the last rung among the candidates asked up to each; +inf before the first."""
    last = max(len(entry.medians) for entry in raced)
    full = [entry.medians[-1] if len(entry.medians) == last else np.inf for entry in raced]
    return np.minimum.accumulate(full)


def near_best(raced: Sequence[Raced], standing: Standing) -> list[Candidate]:
    """The winner, and all whose score on the last rung lies above the family's lowest there by at most half
    the length of the winner's confirmed interval: what the study can hardly tell from its best."""
    last = max(len(entry.medians) for entry in raced)
    full = {entry.candidate: entry.medians[-1] for entry in raced if len(entry.medians) == last}
    winner = standing.winner.candidate
    lowest = min(full.values())
    if np.isinf(lowest):
        return [winner]
    reach = lowest + (standing.score.high - standing.score.low) / 2
    return [c for c, score in full.items() if c is winner or (score <= reach and np.isfinite(score))]


def expected(raced: Sequence[Raced], model: CurveModel, num_steps: int) -> tuple[Raced, ...]:
    """The candidates with the median over seeds that the model expects of each, in place of single scores."""
    if not raced:
        return ()
    levels = model.means(np.stack([curve_of(entry.candidate, num_steps) for entry in raced]))
    scores = model.values.scale.scores(levels).tolist()
    return tuple(Raced(entry.candidate, (score,)) for entry, score in zip(raced, scores, strict=True))


def shape_scores(
    raced: Sequence[Raced], told: Float[np.ndarray, "candidates"]
) -> Float[np.ndarray, "shapes"]:
    """The score of each shape at the best of its learning rates, where shapes were drawn and each tried with
    the same number of rates in a row; a last one that got fewer is left out."""
    by_shape: dict[tuple[float, ...], list[float]] = {}
    for entry, score in zip(raced, told, strict=True):
        by_shape.setdefault(tuple(entry.candidate.params.values()), []).append(score)
    rates = max(map(len, by_shape.values()))
    return np.array([min(scores) for scores in by_shape.values() if len(scores) == rates])
