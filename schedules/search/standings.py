"""The families in the order of their winners' confirmed scores, each with its interval and its lead."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schedules.search.procedure import Findings, Winner
from schedules.search.scoring import Estimate, median_change, median_difference, median_estimate


class Standing(NamedTuple):
    """A family's place.

    Attributes:
      winner: its winner.
      score: the median of the confirming runs, with its interval.
      against: the relative change of the median from each baseline family's, over paired replicates;
        negative is better. A family has no change from itself.
      behind_best: how far the median lies above the first family's, paired likewise; None for the first.
    """

    winner: Winner
    score: Estimate
    against: Mapping[str, Estimate]
    behind_best: Estimate | None

    @property
    def family(self) -> str:
        return self.winner.screened.shape.family.name

    @property
    def diverged(self) -> int:
        """How many confirming runs diverged."""
        return int(np.isinf(self.winner.scores).sum())

    @property
    def ties_with_best(self) -> bool:
        """Whether the interval of the difference from the first family's median holds zero."""
        return self.behind_best is not None and self.behind_best.low <= 0


def standings(findings: Findings, baselines: Sequence[str], confidence: float) -> tuple[Standing, ...]:
    """All families, best first; equal scores stay in the order in which the families were searched."""
    scores = {name: median_estimate(winner.scores, confidence) for name, winner in findings.winners.items()}
    ranked = sorted(findings.winners, key=lambda name: scores[name].value)

    def change(name: str, reference: str) -> Estimate:
        return median_change(findings.winners[name].scores, findings.winners[reference].scores, confidence)

    def behind(name: str) -> Estimate:
        best = findings.winners[ranked[0]].scores
        return median_difference(findings.winners[name].scores, best, confidence)

    return tuple(
        Standing(
            findings.winners[name],
            scores[name],
            {baseline: change(name, baseline) for baseline in baselines if baseline != name},
            None if name == ranked[0] else behind(name),
        )
        for name in ranked
    )


def verdict(ranked: Sequence[Standing], baseline: str) -> str:
    """One sentence: which family wins, by how much against the baseline, and which cannot be told from it."""
    best = ranked[0]
    if math.isinf(best.score.value):
        return "No winner: at least half of the confirming runs of every family diverged."
    tied = [standing.family for standing in ranked[1:] if standing.ties_with_best]
    lead = best.against.get(baseline)
    if lead is None:
        sentence = f"{best.family} wins"
    elif math.isnan(lead.value):
        sentence = f"{best.family} wins; its lead over {baseline} has no ratio"
    else:
        direction = "below" if lead.value <= 0 else "above"
        sure = "" if lead.high < 0 or lead.low > 0 else ", an interval that holds zero"
        sentence = (
            f"{best.family} wins, {abs(lead.value):.1%} {direction} {baseline}"
            f" (interval {lead.low:+.1%} to {lead.high:+.1%}{sure})"
        )
    if tied:
        return f"{sentence}; not distinguishable from it: {', '.join(tied)}."
    return f"{sentence}; every other family is distinguishably worse."
