"""Strategies that do not look at scores: they draw shapes and cross each with a grid of learning rates."""

from collections.abc import Callable

import jax
import numpy as np
import scipy
from jaxtyping import Float, Int, PRNGKeyArray

from schedules.search.keys import named_key
from schedules.search.strategy import History, Strategy, numpy_generator, strategy_of

RATES = 16  # learning rates that a drawn shape is tried with


def random_search(dimensions: int, batch: int) -> Strategy:
    """Independent uniform shapes, each at `RATES` log-spaced learning rates."""

    def shapes(history: History, numbers: Int[np.ndarray, "batch"]) -> np.ndarray:
        root = named_key(history.key, "shape")

        def shape(number):
            return jax.random.uniform(jax.random.fold_in(root, number), (dimensions - 1,))

        return np.asarray(jax.vmap(shape)(numbers))

    return _crossed(dimensions, batch, shapes)


def sobol_search(dimensions: int, batch: int) -> Strategy:
    """A scrambled Sobol sequence of shapes, each at `RATES` log-spaced learning rates: they fill the cube
    more evenly than random ones, best where their number is a power of two."""

    def shapes(history: History, numbers: Int[np.ndarray, "batch"]) -> np.ndarray:
        if dimensions == 1:
            return np.zeros((len(numbers), 0))
        length = int(numbers[-1]).bit_length()
        sequence = scipy.stats.qmc.Sobol(dimensions - 1, scramble=True, rng=numpy_generator(history.key))
        return sequence.random_base2(length)[numbers]

    return _crossed(dimensions, batch, shapes)


def grid_search(dimensions: int, batch: int) -> Strategy:
    """Ever finer grids of shapes, each shape at `RATES` log-spaced learning rates: level l has the centres of
    2^l equal slices of every axis, and no level repeats a shape of another."""

    def shapes(history: History, numbers: Int[np.ndarray, "batch"]) -> np.ndarray:
        return np.stack([_cell_centre(history.key, int(number), dimensions - 1) for number in numbers])

    return _crossed(dimensions, batch, shapes)


def _cell_centre(key: PRNGKeyArray, number: int, dimensions: int) -> Float[np.ndarray, "dims"]:
    """The centre of a cell, numbered through the levels.

    The binary digits of a cell's number within its level become, after a random triangular map and flips,
    the first digits of every coordinate, then the second ones and so on: so the first 2^(k·dimensions) cells
    of a level lie one in each cell of level k. The lowest digit flips all: every second cell mirrors the
    one before.
    """
    level = 0
    while number >= 2 ** (level * dimensions):
        number -= 2 ** (level * dimensions)
        level += 1
    digits, generator = level * dimensions, numpy_generator(named_key(key, "level", level))
    triangular = np.tril(generator.integers(2, size=(digits, digits)), -1) + np.eye(digits, dtype=int)
    triangular[:, :1] = 1
    mapped = triangular @ (number >> np.arange(digits) & 1) + generator.integers(2, size=digits)
    places = 2.0 ** -np.arange(1, level + 1)
    return places @ (mapped % 2).reshape(level, dimensions) + 2.0 ** -(level + 1)


def _crossed(
    dimensions: int,
    batch: int,
    shapes: Callable[[History, Int[np.ndarray, "batch"]], Float[np.ndarray, "batch shape_dims"]],
) -> Strategy:
    """The strategy that goes through shapes 0, 1, … and for each through the learning rates.

    Without shape parameters there is one shape: ever finer grids of rates go on where the first one ends.
    """

    def ask(history: History) -> Float[np.ndarray, "batch dims"]:
        places = len(history.points) + np.arange(batch)
        numbers, inverse = np.unique(places // RATES, return_inverse=True)
        offsets = [0.5 if dimensions > 1 else _cell_centre(history.key, int(n), 1)[0] for n in numbers]
        rates = (places % RATES + np.array(offsets)[inverse]) / RATES
        return np.concatenate([shapes(history, numbers)[inverse], rates[:, None]], axis=1).astype(np.float32)

    return strategy_of(dimensions, ask)
