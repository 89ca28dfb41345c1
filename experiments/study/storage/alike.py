"""JSON values that are the same but for rounding, as when two processors compute one of them each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

SMALLEST = 1e-15  # below it numbers are as good as zero


def alike(value: Any, other: Any, tolerance: float) -> bool:
    """Whether two JSON values have equal names, texts and lengths, and numbers within a relative tolerance.

    >>> alike({"loss": [1.0, None]}, {"loss": [1.0000001, None]}, 1e-6), alike([1.0], [1.1], 1e-6)
    (True, False)
    """
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return value.keys() == other.keys() and all(alike(value[k], other[k], tolerance) for k in value)
    if isinstance(value, Sequence) and isinstance(other, Sequence) and not isinstance(value, str):
        return len(value) == len(other) and all(
            alike(*pair, tolerance) for pair in zip(value, other, strict=True)
        )
    if isinstance(value, float) and isinstance(other, float | int):
        both_nan = math.isnan(value) and math.isnan(other)
        return both_nan or math.isclose(value, other, rel_tol=tolerance, abs_tol=SMALLEST)
    return value == other
