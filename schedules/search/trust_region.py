"""Bayesian optimisation in a trust region: a Gaussian process trusted in a box around the best point.

The box grows where a point improves on the best, halves after a while without, and starts anew elsewhere once
it is tiny. Inside it the model proposes the minimiser of its mean and minimisers of functions drawn from it
(Thompson sampling). Source: Eriksson et al. (2019), arXiv:1910.01739, with this project's constants.
"""

import bisect
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from schedules.search import surrogate
from schedules.search.blas import on_one_thread
from schedules.search.keys import named_key
from schedules.search.scale import Scale
from schedules.search.strategy import History, Strategy, numpy_generator, strategy_of

LENGTH, LONGEST, SHORTEST = 0.8, 1.6, 2.0**-7  # of the box, for an axis of average length scale
GROWTH = 2.0  # at each improvement: early on the box is to be the whole cube
PATIENCE = 12  # points without improvement before the box halves
IMPROVEMENT = 1e-3  # of the best score, or of the median's distance from it: the least that counts
MODELLED = 128  # the points nearest to the best that the model is fitted to
LOG2_CANDIDATES = 9  # points among which the drawn functions are minimised, or more for a larger batch
NEAR = 0.25  # the part of the box around its centre that half of them lie in
APART = 1e-6  # points closer than this are the same


class Region(NamedTuple):
    """The box as the scores told so far have left it.

    Attributes:
      start: the first point told that belongs to it; those before are of abandoned boxes.
      length: of its sides.
    """

    start: int
    length: float


def trust_region_search(dimensions: int, batch: int) -> Strategy:
    """Points where a Gaussian process, fitted to those nearest to the best, expects or hopes for low
    scores."""
    initial = dimensions + 1

    def ask(history: History) -> Float[np.ndarray, "batch dims"]:
        region = region_of(history.scores, initial)
        told = len(history.points) - region.start
        if told < initial:
            return _design(history, region.start, told, batch)
        return _proposals(history, region, batch)

    return strategy_of(dimensions, ask)


def region_of(scores: Float[np.ndarray, "told"], initial: int) -> Region:
    """The trust region after these scores, the first `initial` ones of every box being its design."""
    scale = Scale.of(scores)
    start, length, best, waited, ordered = 0, LENGTH, np.inf, 0, []
    for told, score in enumerate(scores, start=1):
        improved = score < best - IMPROVEMENT * _unit(best, ordered, scale)
        best = min(best, score)
        if np.isfinite(score):
            bisect.insort(ordered, score)
        if told - start <= initial:
            continue
        waited = 0 if improved else waited + 1
        if improved:
            length = min(GROWTH * length, LONGEST)
        elif waited == PATIENCE:
            length, waited = length / 2, 0
        if length < SHORTEST:
            start, length, best, waited, ordered = told, LENGTH, np.inf, 0, []
    return Region(start, length)


def _unit(best: float, ordered: list[float], scale: Scale) -> float:
    """What an improvement is measured by: the best score, or how far half of the scores lie from it."""
    if not ordered:
        return 0.0
    return best if scale is Scale.RELATIVE else ordered[len(ordered) // 2] - best


def _design(history: History, start: int, told: int, batch: int) -> Float[np.ndarray, "batch dims"]:
    """The next points of the Sobol sequence that a box begins with."""
    sequence = scipy.stats.qmc.Sobol(
        history.points.shape[1], rng=numpy_generator(named_key(history.key, "design", start))
    )
    length = (told + batch - 1).bit_length()
    return sequence.random_base2(length)[told : told + batch].astype(np.float32)


@on_one_thread
def _proposals(history: History, region: Region, batch: int) -> Float[np.ndarray, "batch dims"]:
    points, scores = history.points[region.start :], history.scores[region.start :]
    distances = np.max(np.abs(points - points[np.argmin(scores)]), axis=1)
    nearest = np.argsort(distances, kind="stable")[:MODELLED]
    model = surrogate.fit(points[nearest], scores[nearest])
    centre = points[nearest][np.argmin(surrogate.means_where_fitted(model))]
    low, high = _box(centre, region.length, model.length_scales)
    key = named_key(history.key, "batch", len(history.points))
    candidates = _candidates(centre, low, high, batch, numpy_generator(named_key(key, "candidates")))
    drawn = surrogate.samples(model, candidates, named_key(key, "functions"), batch)
    expected = candidates[np.argmin(surrogate.means(model, candidates))]
    lowest = [surrogate.lowest_mean(model, start, low, high) for start in (expected, centre)]
    best = lowest[np.argmin(surrogate.means(model, np.stack(lowest)))]
    return _new_points(points, best, candidates, drawn, batch).astype(np.float32)


def _box(
    centre: Float[np.ndarray, "dims"], length: float, length_scales: Float[np.ndarray, "dims"]
) -> tuple[np.ndarray, np.ndarray]:
    """Longer along axes on which the score changes slowly, at equal volume; cut off by the cube."""
    sides = length * length_scales / np.exp(np.mean(np.log(length_scales)))
    return np.clip(centre - sides / 2, 0, 1), np.clip(centre + sides / 2, 0, 1)


def _candidates(
    centre: Float[np.ndarray, "dims"],
    low: Float[np.ndarray, "dims"],
    high: Float[np.ndarray, "dims"],
    batch: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, "candidates dims"]:
    """Half of them all over the box, half near its centre; more than a batch takes."""
    length = max(LOG2_CANDIDATES, batch.bit_length())
    points = low + (high - low) * scipy.stats.qmc.Sobol(len(low), rng=generator).random_base2(length)
    far, close = np.split(points, 2)  # both halves of a Sobol sequence fill the box evenly
    return np.concatenate([far, np.clip(centre + NEAR * (close - centre), 0, 1)])


def _new_points(
    told: Float[np.ndarray, "told dims"],
    best: Float[np.ndarray, "dims"],
    candidates: Float[np.ndarray, "candidates dims"],
    drawn: Float[np.ndarray, "batch candidates"],
    batch: int,
) -> Float[np.ndarray, "batch dims"]:
    """The mean's minimiser unless it was told already, then each drawn function's lowest candidate that
    nothing else took."""
    new = [best] if np.min(np.max(np.abs(told - best), axis=1)) > APART else []
    free = np.max(np.abs(candidates - best), axis=1) > APART
    for function in drawn[: batch - len(new)]:
        lowest = np.argmin(np.where(free, function, np.inf))
        free[lowest] = False
        new.append(candidates[lowest])
    return np.stack(new)
