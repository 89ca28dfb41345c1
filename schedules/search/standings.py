"""Winners in the order of their confirmed scores, each with its interval and its lead."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from schedules.search.scale import Scale
from schedules.search.scoring import Estimate, median_change, median_difference, median_estimate


@runtime_checkable
class Scored(Protocol):
    """The winner of a group, such as a family of schedules, with the scores of its confirming runs."""

    scores: Float[np.ndarray, "replicates"]


class Standing(NamedTuple):
    """The place of a group's winner.

    Attributes:
      name: the group's.
      winner: its winner.
      score: the median of the confirming runs, with its interval.
      against: the change of the median from each baseline's, over paired replicates; negative is better. A
        baseline has no change from itself.
      behind_best: how far the median lies above the first one's, paired likewise; None for the first.
      scale: of the changes, the same for all that were ranked together.
    """

    name: str
    winner: Any
    score: Estimate
    against: Mapping[str, Estimate]
    behind_best: Estimate | None
    scale: Scale = Scale.RELATIVE

    @property
    def diverged(self) -> int:
        """How many confirming runs diverged."""
        return int(np.isinf(self.winner.scores).sum())

    @property
    def ties_with_best(self) -> bool:
        """Whether the interval of the difference from the first family's median holds zero."""
        return self.behind_best is not None and self.behind_best.low <= 0


def standings(
    winners: Mapping[str, Scored], baselines: Sequence[str], confidence: float, scale: Scale | None = None
) -> tuple[Standing, ...]:
    """All winners by the name of their group, best first; equal scores stay in the order given.

    The scale of the changes is the `Scale.of` all these scores, unless a table of more of them gives its own.
    """
    scores = {name: median_estimate(winner.scores, confidence) for name, winner in winners.items()}
    ranked = sorted(winners, key=lambda name: scores[name].value)

    scale = scale or Scale.of(*(winner.scores for winner in winners.values()))

    def change(name: str, reference: str) -> Estimate:
        return median_change(winners[name].scores, winners[reference].scores, confidence, scale)

    def behind(name: str) -> Estimate:
        return median_difference(winners[name].scores, winners[ranked[0]].scores, confidence)

    return tuple(
        Standing(
            name,
            winners[name],
            scores[name],
            {baseline: change(name, baseline) for baseline in baselines if baseline != name},
            None if name == ranked[0] else behind(name),
            scale,
        )
        for name in ranked
    )


def verdict(ranked: Sequence[Standing], baseline: str, kind: str = "family") -> str:
    """One sentence: which one wins, by how much against the baseline, and which cannot be told from it.

    `kind` is what the sentence calls them.
    """
    best = ranked[0]
    if math.isinf(best.score.value):
        return f"No winner: at least half of the confirming runs of every {kind} diverged."
    tied = [standing.name for standing in ranked[1:] if standing.ties_with_best]
    lead = best.against.get(baseline)
    if lead is None:
        sentence = f"{best.name} wins"
    elif math.isnan(lead.value):
        sentence = f"{best.name} wins; at least half of the runs of {baseline} diverged"
    else:
        direction = "below" if lead.value <= 0 else "above"
        caveat = "" if lead.high < 0 or lead.low > 0 else ", an interval that holds zero"
        size = best.scale.text(abs(lead.value), 1)
        low, high = (best.scale.text(end, 1, "+") for end in (lead.low, lead.high))
        sentence = f"{best.name} wins, {size} {direction} {baseline} (interval {low} to {high}{caveat})"
    if tied:
        return f"{sentence}; not distinguishable from it: {', '.join(tied)}."
    return f"{sentence}; every other {kind} is distinguishably worse."
