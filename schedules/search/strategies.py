"""Search strategies over the unit cube, as pure ask and tell.

A strategy is `init(key) → history`, `ask(history) → points`, `tell(history, points, scores) → history`. The
history of what was told is the whole state: asking twice gives the same points, and telling a resumed
search what it was told before brings it back exactly.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.stats import qmc

from schedules.search.keys import named_key


class History(NamedTuple):
    """What a strategy was told: points of the unit cube and their scores (lower is better, +inf diverged)."""

    key: PRNGKeyArray
    points: Float[np.ndarray, "told dims"]
    scores: Float[np.ndarray, "told"]


class Strategy(NamedTuple):
    init: Callable[[PRNGKeyArray], History]
    ask: Callable[[History], Float[np.ndarray, "batch dims"]]
    tell: Callable[[History, np.ndarray, np.ndarray], History]


def tell(
    history: History, points: Float[np.ndarray, "batch dims"], scores: Float[np.ndarray, "batch"]
) -> History:
    """Append to the history. Raises ValueError for NaN: a run that diverged scores +inf."""
    scores = np.asarray(scores, np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"scores must be numbers or +inf where a run diverged, got {scores}")
    return history._replace(
        points=np.concatenate([history.points, points]), scores=np.concatenate([history.scores, scores])
    )


def random_search(dimensions: int, batch: int) -> Strategy:
    """`batch` independent uniform points at each ask."""

    def ask(history: History) -> np.ndarray:
        key = named_key(history.key, "batch", len(history.points))
        return np.asarray(jax.random.uniform(key, (batch, dimensions)))

    return Strategy(_empty(dimensions), ask, tell)


def sobol_search(dimensions: int, batch: int) -> Strategy:
    """The next `batch` points of a scrambled Sobol sequence: they fill the cube more evenly than random ones.

    Best where the number of points is a power of two.
    """

    def ask(history: History) -> np.ndarray:
        told = len(history.points)
        seed = np.random.default_rng(np.asarray(jax.random.key_data(history.key)))
        length = (told + batch - 1).bit_length()
        sequence = qmc.Sobol(dimensions, scramble=True, rng=seed).random_base2(length)
        return sequence[told : told + batch].astype(np.float32)

    return Strategy(_empty(dimensions), ask, tell)


def _empty(dimensions: int) -> Callable[[PRNGKeyArray], History]:
    return lambda key: History(key, np.zeros((0, dimensions), np.float32), np.zeros(0))


STRATEGIES: Mapping[str, Callable[[int, int], Strategy]] = MappingProxyType(
    {"random": random_search, "sobol": sobol_search}
)
