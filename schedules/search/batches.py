"""Batches of points: whole ones, and of points that were not told before."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float


def whole_batches(least: int, batch: int) -> int:
    """The fewest points that are at least this many and fill their batches.

    >>> whole_batches(9, batch=4)
    12
    """
    return -(-least // batch) * batch


def first_new(
    told: Float[np.ndarray, "told dims"], points: Iterator[Float[np.ndarray, "dims"]], count: int
) -> Float[np.ndarray, "count dims"]:
    """The first of endless points, in a history's float32, that differ from all told and from each other."""
    seen = {point.tobytes() for point in told}
    new = []
    while len(new) < count:
        point = next(points).astype(np.float32)
        if point.tobytes() not in seen:
            seen.add(point.tobytes())
            new.append(point)
    return np.stack(new)
