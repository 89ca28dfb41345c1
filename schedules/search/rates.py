"""The grid of base learning rates that every shape is crossed with, and its extension past an edge."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RateGrid:
    """Base learning rates by index: 0 … n-1 are those given, beyond them the edge's ratio goes on.

    >>> grid = RateGrid((0.1, 0.2, 0.8))
    >>> [round(grid[index], 4) for index in (-1, 0, 2, 3)]
    [0.05, 0.1, 0.8, 3.2]

    Raises:
      ValueError: the rates are not positive and strictly ascending, or there is none.
    """

    rates: tuple[float, ...]

    def __post_init__(self):
        positive = all(np.isfinite(rate) and rate > 0 for rate in self.rates)
        ascending = all(low < high for low, high in zip(self.rates[:-1], self.rates[1:], strict=True))
        if not (self.rates and positive and ascending):
            raise ValueError(
                f"learning_rates must be positive, finite and strictly ascending, got {self.rates}"
            )

    def __len__(self) -> int:
        return len(self.rates)

    def __getitem__(self, index: int) -> float:
        rates = self.rates
        if 0 <= index < len(rates):
            return rates[index]
        if len(rates) == 1:
            raise IndexError("a grid of one learning rate has no ratio to extend it by")
        if index < 0:
            return rates[0] * (rates[0] / rates[1]) ** -index
        return rates[-1] * (rates[-1] / rates[-2]) ** (index - len(rates) + 1)


def best_rate(scores: Mapping[int, float]) -> int:
    """The index of the lowest score, of the smallest learning rate among equals."""
    return min(sorted(scores), key=lambda index: scores[index])


def is_bracketed(scores: Mapping[int, float]) -> bool:
    """Whether the best learning rate lies strictly between others that were measured."""
    return min(scores) < best_rate(scores) < max(scores)


def next_rate(scores: Mapping[int, float], grid: RateGrid, max_extensions: int) -> int | None:
    """The index to measure next: one past the edge that the best lies on, at most `max_extensions` past the
    grid; None where the best is bracketed or the limit reached."""
    best = best_rate(scores)
    if is_bracketed(scores) or len(grid) == 1:
        return None
    beyond = best - 1 if best == min(scores) else best + 1
    return beyond if -max_extensions <= beyond < len(grid) + max_extensions else None
