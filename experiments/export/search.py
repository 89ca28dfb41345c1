"""Where a function of two numbers of steps is least."""

import heapq
import itertools
from collections.abc import Callable, Sequence

Place = tuple[int, int]  # two numbers of steps, together fewer than all
GRID = 12  # first numbers that are tried
DESCENTS = 4  # in both numbers


def best_place(value: Callable[[Place], float], num_steps: int, *, second: bool) -> Place:
    """The place of the least value that is found, on a grid and then ever closer.

    Many values of the first number have one valley, those of the second may have several: the best first
    number is found for some second ones, and then both around the best of these.

    Args:
      value: of a place, cheap where it is asked for again.
      num_steps: all steps.
      second: whether the second number is searched too, or is 0.
    """
    pitch = max(1, num_steps // GRID)
    columns = [
        [(number, other) for number in range(0, num_steps - other, pitch)]
        for other in (range(0, num_steps, pitch) if second else [0])
    ]
    valleys = [
        _descended(value, min(column, key=value), num_steps, pitch, [(-1, 0), (1, 0)]) for column in columns
    ]
    if not second:
        return valleys[0]
    moves = list(itertools.product((-1, 0, 1), repeat=2))
    lowest = heapq.nsmallest(DESCENTS, valleys, key=value)
    return min((_descended(value, place, num_steps, pitch, moves) for place in lowest), key=value)


def _descended(
    value: Callable[[Place], float], place: Place, num_steps: int, distance: int, moves: Sequence[Place]
) -> Place:
    """Where no move by one step leads lower, after longer ones."""
    while distance:
        reached = [(place[0] + distance * first, place[1] + distance * second) for first, second in moves]
        allowed = [place for place in reached if min(place) >= 0 and sum(place) < num_steps]
        lowest = min([place, *allowed], key=value)
        if value(lowest) < value(place):
            place = lowest
        else:
            distance //= 2
    return place
