"""Values as the text of a cell."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from schedules import Interval
from schedules.search import Estimate, Scale

NONE = "–"
EDGE = 0.05  # of an interval of learning rates, on either side


def as_text(value: Any) -> str:
    """By its kind: an estimate with its interval, a number in three digits, a dash for none.

    >>> as_text(Estimate(0.25, 0.125, 1.0)), as_text(2 / 3), as_text(None), as_text(True), as_text(12)
    ('0.25 [0.125, 1]', '0.667', '–', 'yes', '12')
    """
    if isinstance(value, np.generic):
        value = value.item()
    number = value.value if isinstance(value, Estimate) else value
    if isinstance(number, float) and math.isnan(number):
        return "not known"
    if isinstance(value, Estimate):
        return f"{value.value:.3g} [{value.low:.3g}, {value.high:.3g}]"
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "NO"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def change_text(change: Estimate | None, scale: Scale, digits: int = 0, sign: str = "+") -> str:
    """A change in the scale's unit, which the heading names; a dash where there is none.

    >>> change_text(Estimate(-0.05, -0.1, 0.0), Scale.RELATIVE)
    '-5 [-10, +0]'
    """
    if change is None or math.isnan(change.value):
        return NONE
    value, low, high = (scale.text(end, digits, sign).removesuffix("%") for end in change)
    return f"{value} [{low}, {high}]"


def change_cell(scale: Scale, digits: int = 0, sign: str = "+") -> Callable[..., str]:
    """`change_text` of the only value of a column."""
    return lambda **values: change_text(*values.values(), scale, digits, sign)


def percent_cell(**values: Estimate) -> str:
    """The only value of a column in per cent, which the heading names, in three digits.

    >>> percent_cell(gap=Estimate(0.0125, -0.05, 1.0))
    '1.25 [-5, 100]'
    """
    (estimate,) = values.values()
    return as_text(Estimate(*(100 * end for end in estimate)))


def base_lr_text(base_lr: float, searched: Interval | None) -> str:
    """A base learning rate, marked where it lies at the edge of what was searched, if it was."""
    return f"{base_lr:.3g}" + (" (edge)" if searched and at_edge(base_lr, searched) else "")


def rate_text(learning_rate: float, learning_rate_bracketed: bool) -> str:
    """A tuned learning rate, marked where it lies on the edge of what was tried."""
    return f"{learning_rate:.3g}" + ("" if learning_rate_bracketed else " (edge)")


def at_edge(base_lr: float, searched: Interval) -> bool:
    """Whether a base learning rate lies outside the inner nine tenths of an interval."""
    return not EDGE <= searched.to_unit(base_lr) <= 1 - EDGE


def shape_text(params: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.3g}" for name, value in params.items())
