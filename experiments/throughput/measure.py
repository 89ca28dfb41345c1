"""Two sides of a comparison, timed in turn."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np


class Side(NamedTuple):
    """One side of a comparison: what to time, and how many runs (or schedules) one call computes."""

    call: Callable[[], object]
    runs: int


class Comparison(NamedTuple):
    """Runs per second of both sides, and how many times faster the first is, over alternating repeats."""

    subject: str
    ours: float
    baseline: float
    ratio: float


def compare(subject: str, ours: Side, baseline: Side, repeats: int) -> Comparison:
    """Time both sides in turn, after one call of each to compile."""
    _seconds(ours.call), _seconds(baseline.call)
    times = np.array([(_seconds(ours.call), _seconds(baseline.call)) for _ in range(repeats)])
    speeds = np.array([ours.runs, baseline.runs]) / times
    return Comparison(subject, *np.median(speeds, axis=0), np.median(speeds[:, 0] / speeds[:, 1]))


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - begun
