"""Coordinate descent: sweeps along one axis at a time around the best point, the axes in turn.

The step shrinks once a whole cycle over the axes brought no improvement; the search starts anew elsewhere
once it is tiny.
"""

from itertools import count
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from schedules.search.batches import first_new, whole_batches
from schedules.search.keys import named_key
from schedules.search.strategy import History, Strategy, numpy_generator, strategy_of

STEP, SMALLEST = 0.5, 2.0**-10  # how far a sweep reaches to either side
SHRINKAGE = 0.25
SWEEP = 4  # points on an axis, in whole batches
DESIGN = 4  # points for each axis, of the design that a descent starts from


class Descent(NamedTuple):
    """A descent as the scores told so far have left it.

    Attributes:
      begun: the first point told that belongs to it; those before are of finished descents.
      told: how many points were told when its running design or sweep began.
      best: the number of the best point of its design and whole sweeps; None during the design.
      step, axis: of the running sweep.
      failed: sweeps since the last improvement.
    """

    begun: int
    told: int
    best: int | None = None
    step: float = STEP
    axis: int = 0
    failed: int = 0


def coordinate_search(dimensions: int, batch: int) -> Strategy:
    """A small design, then sweeps of a few random points along each axis in turn around the best one."""
    design, sweep = whole_batches(DESIGN * dimensions, batch), whole_batches(SWEEP, batch)

    def ask(history: History) -> Float[np.ndarray, "batch dims"]:
        descent = descent_of(history.scores, dimensions, design, sweep)
        done = len(history.points) - descent.told
        if descent.best is None:
            return _design_points(history, descent, done, batch)
        return _sweep_points(history, descent, done, sweep, batch)

    return strategy_of(dimensions, ask)


def descent_of(scores: Float[np.ndarray, "told"], dimensions: int, design: int, sweep: int) -> Descent:
    """The descent after these scores; only whole designs and sweeps count."""
    descent = Descent(0, 0)
    while (end := descent.told + (design if descent.best is None else sweep)) <= len(scores):
        lowest = descent.told + int(np.argmin(scores[descent.told : end]))
        if descent.best is None:
            descent = Descent(descent.begun, end, lowest)
        elif (descent := _swept(descent, scores, lowest, end, dimensions)).step < SMALLEST:
            descent = Descent(end, end)
    return descent


def _swept(
    descent: Descent, scores: Float[np.ndarray, "told"], lowest: int, end: int, dimensions: int
) -> Descent:
    """The descent after its running sweep, whose lowest score has the number `lowest`."""
    axis = (descent.axis + 1) % dimensions
    if scores[lowest] < scores[descent.best]:
        return descent._replace(told=end, best=lowest, axis=axis, failed=0)
    if descent.failed + 1 < dimensions:
        return descent._replace(told=end, axis=axis, failed=descent.failed + 1)
    return descent._replace(told=end, step=SHRINKAGE * descent.step, axis=axis, failed=0)


def _design_points(
    history: History, descent: Descent, done: int, batch: int
) -> Float[np.ndarray, "batch dims"]:
    key = named_key(history.key, "design", descent.begun)
    sequence = scipy.stats.qmc.Sobol(history.points.shape[1], rng=numpy_generator(key))
    length = (done + batch - 1).bit_length()
    return sequence.random_base2(length)[done : done + batch].astype(np.float32)


def _sweep_points(
    history: History, descent: Descent, done: int, sweep: int, batch: int
) -> Float[np.ndarray, "batch dims"]:
    """One random point in each of the equal slices that the sweep cuts its reach into."""
    centre, axis = history.points[descent.best], descent.axis
    low, high = max(0.0, centre[axis] - descent.step), min(1.0, centre[axis] + descent.step)
    generator = numpy_generator(named_key(history.key, "batch", len(history.points)))

    def point(number: int) -> Float[np.ndarray, "dims"]:
        fraction = (number % sweep + generator.random()) / sweep
        return np.where(np.arange(len(centre)) == axis, low + fraction * (high - low), centre)

    return first_new(history.points, (point(number) for number in count(done)), batch)
