"""Intervals as winners.json has them."""

import math
from collections.abc import Mapping


def ends(estimate: Mapping[str, float | None]) -> tuple[float, float]:
    """The low and the high end; an infinite one is null in the file."""
    low, high = estimate["low"], estimate["high"]
    return -math.inf if low is None else low, math.inf if high is None else high
