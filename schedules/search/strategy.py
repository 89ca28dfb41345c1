"""The contract of search strategies over the unit cube, as pure ask and tell.

A strategy is `init(key) → history`, `ask(history) → points`, `tell(history, points, scores) → history`. The
history of what was told is the whole state: asking twice gives the same points, and telling a resumed
search what it was told before brings it back exactly.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.search.scale import as_scores


class History(NamedTuple):
    """What a strategy was told: points of the unit cube and their scores (lower is better, +inf diverged)."""

    key: PRNGKeyArray
    points: Float[np.ndarray, "told dims"]
    scores: Float[np.ndarray, "told"]


class Strategy(NamedTuple):
    """How a search asks for points; the last axis of the cube is the logarithm of the base learning rate."""

    init: Callable[[PRNGKeyArray], History]
    ask: Callable[[History], Float[np.ndarray, "batch dims"]]
    tell: Callable[[History, np.ndarray, np.ndarray], History]


def strategy_of(dimensions: int, ask: Callable[[History], Float[np.ndarray, "batch dims"]]) -> Strategy:
    """The strategy that begins with nothing told and asks as `ask` says."""

    def init(key: PRNGKeyArray) -> History:
        return History(key, np.zeros((0, dimensions), np.float32), np.zeros(0))

    return Strategy(init, ask, tell)


def tell(history: History, points: np.ndarray, scores: np.ndarray) -> History:
    """Append points, (batch, dimensions), and a score each to the history.

    Raises ValueError for points of another cube or outside it, for another number of scores, and for a score
    of NaN or -inf: a run that diverged scores +inf.
    """
    points, scores = np.asarray(points, np.float32), as_scores(scores)
    dimensions = history.points.shape[1]
    if points.ndim != 2 or points.shape[1] != dimensions or scores.shape != points.shape[:1]:
        raise ValueError(
            f"points must be an array (batch, {dimensions}) with a score each,"
            f" got shapes {points.shape} and {scores.shape}"
        )
    in_cube = (points >= 0) & (points <= 1)
    if not in_cube.all():
        raise ValueError(f"points must lie in the unit cube, got {points[~in_cube.all(axis=1)]}")
    return history._replace(
        points=np.concatenate([history.points, points]),
        scores=np.concatenate([history.scores, scores]),
    )


def numpy_generator(key: PRNGKeyArray) -> np.random.Generator:
    """NumPy's random numbers for a key, for libraries that draw from them."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))
