"""What a check of near-optimality says of a winner."""

import math
from typing import NamedTuple

from schedules.search.one_axis import AxisSweep
from schedules.search.procedure import Winner
from schedules.search.scale import Scale
from schedules.search.scoring import Estimate
from schedules.search.trial import Candidate


class Finding(NamedTuple):
    """What a local search found from a winner.

    Attributes:
      start: where it began: the winner, or its curve as a `free` shape.
      found: what it ended with; the winner itself where nothing seemed better.
      accepted: how many challengers were surely better than what they replaced, on the way.
      change: of the median, from the winner's to that of `found`, paired seed by seed.
      delta: what the best point around `found` saves of the winner's score at most. Both are on the scale of
        the verdict.
    """

    start: Candidate
    found: Candidate
    accepted: int
    change: Estimate
    delta: float

    @property
    def improved(self) -> bool:
        """Whether what was found is better beyond the interval."""
        return self.change.high < 0


class Verdict(NamedTuple):
    """The verdict on a winner.

    Attributes:
      winner: it.
      scale: of all changes and deltas, the same for all winners that were checked together.
      sweeps: of each shape parameter.
      own: the search in its own family; that of `challenge` is among all curves.
      free: the search in `free`; None where that is its own family.
    """

    winner: Winner
    scale: Scale
    sweeps: tuple[AxisSweep, ...]
    own: Finding
    free: Finding | None

    @property
    def best(self) -> Finding:
        """The search that improved most on the winner, for sure; the own one where none did."""
        findings = [self.own] if self.free is None else [self.own, self.free]
        return min(findings, key=lambda finding: finding.change.value if finding.improved else 0.0)

    @property
    def improved(self) -> bool:
        return self.best.improved

    @property
    def delta(self) -> float:
        """What the best shape of the family around the winner saves of its score at most."""
        return self.own.delta

    def __str__(self) -> str:
        unit = "" if self.scale is Scale.RELATIVE else " in the metric's unit"
        if not self.improved:
            return f"near-optimal within {self.scale.text(self.delta, 2)}{unit}"
        change = self.best.change
        halves = -(change.low + change.high) / 2, (change.high - change.low) / 2
        gain, margin = (self.scale.text(half, 2) for half in halves)
        return f"improved by {gain} ± {margin}{unit} in {self.best.found.family.name}"


def largest_saving(change: Estimate, bound: float, scale: Scale) -> float:
    """What a change saves at the low end of its interval, and beyond it by so much in the level; at most the
    whole score on the RELATIVE scale, without a limit on the other.

    >>> largest_saving(Estimate(-0.1, -0.2, 0.0), math.log(2), Scale.RELATIVE)
    0.6
    >>> largest_saving(Estimate(-0.1, -0.2, 0.0), 0.5, Scale.ABSOLUTE)
    0.7
    """
    if scale is Scale.ABSOLUTE:
        return max(bound - change.low, 0.0)
    saved = 1.0 if math.isinf(bound) else 1 - (1 + change.low) * math.exp(-bound)
    return min(max(saved, 0.0), 1.0)
