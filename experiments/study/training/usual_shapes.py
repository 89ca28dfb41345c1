"""A shape of every family for runs that search none: what is usual where anything is, else the middle of what
searches draw from."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from schedules import FAMILIES, Family, Interval
from schedules.families import FREE_LEVELS, KNOTS

WARMUP = 0.1  # of all that have one
CHOSEN: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "cosine_floor": {"floor": 0.1},
        "rex": {"beta": 0.5},  # Chen et al. (2021), arXiv:2107.04197
        "wsd": {"decay": 0.2, "floor": 0.0},
        "hold_power": {"hold": 0.8, "exponent": 0.5, "floor": 0.0},  # Hägele et al. (2024), arXiv:2405.18392
        # the middles of these three jump, never rise and stand still
        "smooth_nonmonotonic": {"y_start": 0.2, "x_peak": 0.2, "dx1": 0.6, "y2": 0.2, "y_end": 0.0},
        "knots": {f"level_{k}": round(1 - u**0.6, 3) for k, u in enumerate(KNOTS) if k},
        "free": {"level_0": 0.0, **{f"level_{k}": round((7 - k) / 6, 3) for k in range(1, FREE_LEVELS)}},
    }
)


def _usual(family: Family) -> dict[str, float]:
    """The parameters, in three digits."""
    chosen = {"warmup": WARMUP, **CHOSEN.get(family.name, {})}
    return {name: chosen.get(name, _middle(interval)) for name, interval in family.space.items()}


def _middle(interval: Interval) -> float:
    low, high = interval.low, interval.high
    return float(f"{math.sqrt(low * high) if interval.log else (low + high) / 2:.3g}")


USUAL_SHAPES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {name: MappingProxyType(_usual(family)) for name, family in FAMILIES.items()}
)
