"""What measurements share: a folder, calls that are timed, and the bars that numbers must hold."""

import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from experiments.study.options.errors import StudyError


@contextlib.contextmanager
def scratch_folder(folder: Path | None) -> Iterator[Path]:
    """`folder`, to keep; a temporary one where it is None. Raises StudyError where it is not empty."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="endurance-") as temporary:
            yield Path(temporary)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StudyError(f"folder: must be new or empty, got {folder}: what is there would be resumed.")
    yield folder


@contextlib.contextmanager
def watched(owner: type, name: str, callback: Callable[[float], None]) -> Iterator[None]:
    """Within the `with` statement, every call of a method ends with `callback(seconds that it took)`."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def call(*arguments, **options):
        begun = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            callback(time.perf_counter() - begun)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, method)


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


def share_bar(asked: str, shares: Sequence[float], most: float) -> Bar:
    """That the median of some fractions is less than `most`."""
    measured = range_text([100 * share for share in shares], ".2f", " %")
    return Bar(asked, measured, float(np.median(shares)) < most)


def range_text(values: Sequence[float], form: str, unit: str = "") -> str:
    """The median of some values, with their range.

    >>> range_text([1.0, 2.0, 4.0], ".1f", " %")
    '2.0 % [1.0, 4.0]'
    """
    low, median, high = (format(value, form) for value in np.quantile(values, (0, 0.5, 1)))
    return f"{median}{unit} [{low}, {high}]"
