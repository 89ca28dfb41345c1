"""What a run comes to, of what was measured along it."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def first_reached(values: Float[np.ndarray, "points"], steps: Sequence[int], target: float) -> float:
    """The step at which a curve is first at or below `target`; infinite if it never is.

    Linear between the points, so that it is no multiple of their spacing. It is the first point itself where
    that is low enough already, and the later point after one that diverged (+inf or NaN).

    >>> first_reached(np.array([4.0, 2.0, 1.0]), (10, 20, 30), 3.0)
    15.0
    >>> first_reached(np.array([4.0, 2.0, 1.0]), (10, 20, 30), 0.5)
    inf
    """
    reached = np.flatnonzero(values <= target)
    if not reached.size:
        return math.inf
    end = reached[0]
    if end == 0 or not math.isfinite(values[end - 1]):
        return float(steps[end])
    share = (values[end - 1] - target) / (values[end - 1] - values[end])
    return float(steps[end - 1] + (steps[end] - steps[end - 1]) * share)


def typical(values: Float[np.ndarray, "replicates *measured"]) -> Float[np.ndarray, "replicates"]:
    """The median over everything measured in a run.

    >>> typical(np.array([[1.0, 2.0, 9.0], [4.0, 4.0, 5.0]])).tolist()
    [2.0, 4.0]
    """
    return np.median(values.reshape(len(values), -1), axis=1)
