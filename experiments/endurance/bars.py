"""Bars that a measurement must hold, and how that is said."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text


class Bar(NamedTuple):
    """What is asked of a number, what it is, and whether that does."""

    asked: str
    measured: str
    held: bool


def show_bars(bars: Iterable[Bar], console: Console) -> bool:
    """Print a line a bar; returns whether all held."""
    bars = list(bars)
    for bar in bars:
        verdict = ("held", "green") if bar.held else ("NOT held", "bold red")
        console.print(Text.assemble(verdict, f": {bar.asked}; measured {bar.measured}"), soft_wrap=True)
    return all(bar.held for bar in bars)


def range_text(values: Sequence[float], form: str, unit: str = "") -> str:
    """The median of some values, with their range.

    >>> range_text([1.0, 2.0, 4.0], ".1f", " %")
    '2.0 % [1.0, 4.0]'
    """
    low, median, high = (format(value, form) for value in np.quantile(values, (0, 0.5, 1)))
    return f"{median}{unit} [{low}, {high}]"
