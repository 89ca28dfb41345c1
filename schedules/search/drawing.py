"""Strategies that do not look at scores: they draw shapes and cross each with a grid of learning rates."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.stats import qmc

from schedules.search.keys import named_key
from schedules.search.strategy import History, Strategy, numpy_generator, strategy_of

RATES = 16  # learning rates that a drawn shape is tried with


def random_search(dimensions: int, batch: int) -> Strategy:
    """Independent uniform shapes, each at `RATES` log-spaced learning rates."""

    def shapes(history: History, numbers: Int[np.ndarray, "batch"]) -> np.ndarray:
        keys = [named_key(history.key, "shape", int(number)) for number in numbers]
        return np.stack([np.asarray(jax.random.uniform(key, (dimensions - 1,))) for key in keys])

    return _crossed(dimensions, batch, shapes)


def sobol_search(dimensions: int, batch: int) -> Strategy:
    """A scrambled Sobol sequence of shapes, each at `RATES` log-spaced learning rates: they fill the cube
    more evenly than random ones, best where their number is a power of two."""

    def shapes(history: History, numbers: Int[np.ndarray, "batch"]) -> np.ndarray:
        if dimensions == 1:
            return np.zeros((len(numbers), 0))
        length = int(numbers[-1]).bit_length()
        sequence = qmc.Sobol(dimensions - 1, scramble=True, rng=numpy_generator(history.key))
        return sequence.random_base2(length)[numbers]

    return _crossed(dimensions, batch, shapes)


def _crossed(
    dimensions: int,
    batch: int,
    shapes: Callable[[History, Int[np.ndarray, "batch"]], Float[np.ndarray, "batch shape_dims"]],
) -> Strategy:
    """The strategy that goes through shapes 0, 1, … and for each through the learning rates."""
    rates = (np.arange(RATES) + 0.5) / RATES

    def ask(history: History) -> Float[np.ndarray, "batch dims"]:
        places = len(history.points) + np.arange(batch)
        numbers, which = np.unique(places // RATES, return_inverse=True)
        points = shapes(history, numbers)[which]
        return np.concatenate([points, rates[places % RATES, None]], axis=1).astype(np.float32)

    return strategy_of(dimensions, ask)
