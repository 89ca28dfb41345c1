"""One-axis sweeps: how the score changes with one shape parameter, the learning rate tuned at each value."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from schedules.search.box import Box
from schedules.search.scale import Scale
from schedules.search.trial import Candidate


class AxisSweep(NamedTuple):
    """A shape parameter varied about a winner; a row of the arrays is a value of the parameter.

    Attributes:
      parameter: its name.
      values: of the parameter, rising, the winner's own among them.
      base_lrs: the learning rates tried at each value.
      changes: the median over paired replicates of the score's change from the winner's, on the scale that
        the sweeps were read with; +inf where it diverged.
    """

    parameter: str
    values: Float[np.ndarray, "values"]
    base_lrs: Float[np.ndarray, "values rates"]
    changes: Float[np.ndarray, "values rates"]

    @property
    def best_lrs(self) -> Float[np.ndarray, "values"]:
        return np.take_along_axis(self.base_lrs, self._best, axis=1)[:, 0]

    @property
    def best_changes(self) -> Float[np.ndarray, "values"]:
        """The change at each value's own best learning rate."""
        return np.take_along_axis(self.changes, self._best, axis=1)[:, 0]

    @property
    def _best(self) -> Int[np.ndarray, "values 1"]:
        return np.argmin(self.changes, axis=1, keepdims=True)


def sweep_points(
    centre: Float[np.ndarray, "dims"], box: Box, values: int, rates: int
) -> Float[np.ndarray, "axes values rates dims"]:
    """The points of the sweeps of all shape axes, from side to side of a box; the learning rate is the last
    axis. The value and the rate nearest to the centre's are the centre's own."""
    points = np.tile(np.asarray(centre, np.float64), (len(centre) - 1, values, rates, 1))
    points[..., -1] = _line(centre, box, -1, rates)
    for axis in range(len(points)):
        points[axis, ..., axis] = _line(centre, box, axis, values)[:, None]
    return points


def read_sweeps(
    candidates: Sequence[Candidate],
    scores: Float[np.ndarray, "candidates replicates"],
    winner: Float[np.ndarray, "replicates"],
    values: int,
    rates: int,
    scale: Scale,
) -> tuple[AxisSweep, ...]:
    """The sweeps whose candidates are those of `sweep_points`, in that order; `winner` holds its scores."""
    changes = np.median(scale.changes(scores, winner), axis=1)
    names = list(candidates[0].family.space)
    base_lrs = np.array([candidate.base_lr for candidate in candidates])
    places = np.arange(len(candidates)).reshape(len(names), values, rates)
    return tuple(
        AxisSweep(
            name,
            np.array([candidates[place].params[name] for place in axis_places[:, 0]]),
            base_lrs[axis_places],
            changes[axis_places],
        )
        for name, axis_places in zip(names, places, strict=True)
    )


def _line(centre: np.ndarray, box: Box, axis: int, count: int) -> Float[np.ndarray, "count"]:
    line = np.linspace(box.low[axis], box.high[axis], count)
    line[np.argmin(np.abs(line - centre[axis]))] = centre[axis]
    return line
