"""Are winners near-optimal? Sweeps of each axis, local improvement, and the `free` family from there.

1. sweep: each shape parameter alone over half its range, the learning rate tuned anew at each value.
2. improve: rounds of a local search in the winner's family, and in `free` from the winner's own curve.
3. check: what each of them ended with against the winner, on seeds that chose nothing.

The verdict is "improved by x ± y", or "near-optimal within δ". δ is an upper confidence limit of what the
best point around the winner would gain: what the check cannot exclude of the local search's last candidate,
and what a quadratic of the log score cannot exclude beyond it. Where some score of the check is not positive,
x, y and δ are differences in the metric's unit, taken from the scores themselves; see `Scale`. The sweeps are
the specification's; the local search, δ and `free` are this project's.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.families import FAMILIES, FREE_LEVELS
from schedules.groups import RATIO, SECOND, grouped_as
from schedules.search.keys import named_key
from schedules.search.local_search import (
    CHALLENGERS,
    LocalSearch,
    Rules,
    improve,
    measure,
    remaining_improvement,
    run_together,
)
from schedules.search.one_axis import AxisSweep, read_sweeps, sweep_points
from schedules.search.paired import paired_change
from schedules.search.procedure import Winner
from schedules.search.racing import Evaluate, Rung
from schedules.search.recall import Once, anew
from schedules.search.scale import Scale
from schedules.search.scoring import least_replicates
from schedules.search.trial import Candidate, SearchSpace
from schedules.search.verdicts import Finding, Verdict, largest_saving

SWEEP, CHECK = "sweep", "check"
FREE = "free"
LINES = 2  # searches per winner: its own family, and free


@dataclass(frozen=True)
class CheckBudget:
    """How much to measure about each winner.

    Attributes:
      num_steps: of every run.
      replicates: paired seeds of each point of the sweeps and of the local search.
      sweep_values: of each shape parameter, the winner's included.
      sweep_rates: learning rates at each, from half to twice the winner's.
      rounds: of the local search.
      points_per_coefficient: measured in a round, for each coefficient of a quadratic of shape and rate.
      challenge_replicates: fresh paired seeds on which a challenger must be better.
      check_replicates: fresh paired seeds of the verdict.
      confidence: of each verdict.

    Raises ValueError for a count below 1, fewer than 3 sweep values or rates, less than one point per
    coefficient, a confidence not in (0, 1), or too few seeds for an interval of that confidence.
    """

    num_steps: int
    replicates: int = 3
    sweep_values: int = 5
    sweep_rates: int = 5
    rounds: int = 4
    points_per_coefficient: float = 2.0
    challenge_replicates: int = 20
    check_replicates: int = 60
    confidence: float = 0.95

    def __post_init__(self):
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence must be in (0, 1), got {self.confidence}")
        least = {
            "num_steps": 1,
            "replicates": 1,
            "sweep_values": 3,
            "sweep_rates": 3,
            "rounds": 1,
            "points_per_coefficient": 1,
            "challenge_replicates": least_replicates(1 - (1 - self.confidence) / CHALLENGERS),
            "check_replicates": least_replicates(self.line_confidence),
        }
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")

    @property
    def line_confidence(self) -> float:
        """Of each of the winner's searches, so that all hold together with `confidence`."""
        return 1 - (1 - self.confidence) / LINES


class _Line(NamedTuple):
    """One local search from one winner."""

    winner: str
    start: Candidate
    search: LocalSearch


def check_winners(
    winners: Mapping[str, Winner],
    spaces: Mapping[str, SearchSpace],
    budget: CheckBudget,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once = anew,
) -> dict[str, Verdict]:
    """The verdict on each winner; all are measured side by side.

    Args:
      winners: by name, which need not be that of the family.
      spaces: what each was searched in, by the same names.
      budget: see `CheckBudget`.
      key: what the points are drawn with.
      evaluate, once: as for `search_shapes`. The stages are "sweep", "improve k", "challenge k" and "check";
        the candidates of a stage are numbered through all winners, so that no two trials share an identity.

    Raises ValueError where a score is NaN or -inf.
    """
    if not winners:
        return {}
    own = [_own_line(name, winner, spaces[name]) for name, winner in winners.items()]
    own, readings = _sweep(own, budget, evaluate, once)
    free = _free_lines([line for line in own if line.start.family.name != FREE], spaces, once)
    lines = _improve([*own, *free], budget, key, evaluate, once)
    scores = _check_scores(lines, winners, budget, evaluate)
    scale = Scale.of(*(group for line in lines for group in line.search.measured.scores), *scores.values())
    findings = _findings(lines, winners, scores, scale, budget, key, once)
    others = {
        line.winner: finding for line, finding in zip(lines[len(own) :], findings[len(own) :], strict=True)
    }
    return {
        line.winner: Verdict(winners[line.winner], scale, read(scale), finding, others.get(line.winner))
        for line, read, finding in zip(own, readings, findings, strict=False)
    }


def free_start(winner: Candidate) -> Candidate:
    """The `free` shape through the winner's learning rates at its equally spaced knots.

    The levels are the winner's curve over its largest height at a knot, which the base learning rate takes
    up. Between the knots the two differ. In groups each curve has levels of its own where it has a shape of
    its own, and the ratio is that of the largest heights.
    """
    knots = jnp.linspace(0, 1, FREE_LEVELS)
    heights = np.array(winner.family.curve_at(knots, winner.params), np.float64).reshape(-1, FREE_LEVELS)
    heights[heights.max(axis=1) == 0] = 1.0  # of a curve that lies between the knots alone
    largest = heights.max(axis=1)
    levels = (heights / largest[:, None]).tolist()
    params = {RATIO: float(largest[-1] / largest[0])}
    for prefix, row in zip(("", SECOND), levels, strict=False):
        params |= {f"{prefix}level_{place}": level for place, level in enumerate(row)}
    family = grouped_as(winner.family, FAMILIES[FREE])
    kept = {name: params[name] for name in family.space}
    return Candidate(family, 0, kept, winner.base_lr * float(largest[0]))


def _own_line(name: str, winner: Winner, space: SearchSpace) -> _Line:
    return _Line(name, winner.candidate, LocalSearch.start(space, winner.candidate))


def _free_lines(own: Sequence[_Line], spaces: Mapping[str, SearchSpace], once: Once) -> Iterator[_Line]:
    starts = once("free starts", lambda: [free_start(line.start).proposal for line in own])
    for line, proposal in zip(own, starts, strict=True):
        space = SearchSpace(grouped_as(line.start.family, FAMILIES[FREE]), spaces[line.winner].learning_rates)
        start = Candidate(space.family, 0, **proposal)
        yield _Line(line.winner, start, LocalSearch.start(space, start))


def _sweep(
    lines: Sequence[_Line], budget: CheckBudget, evaluate: Evaluate, once: Once
) -> tuple[list[_Line], list[Callable[[Scale], tuple[AxisSweep, ...]]]]:
    """The lines that know their sweeps, and what reads those on a scale."""
    shape = budget.sweep_values, budget.sweep_rates
    centres = [line.search.space.point(line.start) for line in lines]
    grids = once(
        "sweep grids",
        lambda: [
            sweep_points(centre, line.search.box(line.start, 0), *shape).reshape(-1, len(centre)).tolist()
            for line, centre in zip(lines, centres, strict=True)
        ],
    )
    # the axes share the winner's own shape, which is measured once
    distinct = [np.unique(np.array(grid), axis=0, return_inverse=True) for grid in grids]
    rung = Rung(budget.replicates, budget.num_steps)
    searches, points = [line.search for line in lines], [grid for grid, _ in distinct]
    searches, candidates, scores = measure(SWEEP, searches, lambda: points, rung, evaluate, once)
    readings = []
    for centre, (grid, places), asked, results in zip(centres, distinct, candidates, scores, strict=True):
        own = int(np.argmin(np.max(np.abs(grid - centre), axis=1)))
        swept = [asked[place] for place in places], results[places], results[own]
        readings.append(functools.partial(read_sweeps, *swept, *shape))
    return [line._replace(search=search) for line, search in zip(lines, searches, strict=True)], readings


def _improve(
    lines: Sequence[_Line], budget: CheckBudget, key: PRNGKeyArray, evaluate: Evaluate, once: Once
) -> list[_Line]:
    rules = Rules(
        Rung(budget.replicates, budget.num_steps),
        budget.points_per_coefficient,
        Rung(budget.challenge_replicates, budget.num_steps),
        budget.confidence,
    )
    searches = [line.search for line in lines]
    for number in range(1, budget.rounds + 1):
        searches = improve(number, searches, rules, key, evaluate, once)
    return [line._replace(search=search) for line, search in zip(lines, searches, strict=True)]


def _check_scores(
    lines: Sequence[_Line], winners: Mapping[str, Winner], budget: CheckBudget, evaluate: Evaluate
) -> dict[Candidate, Float[np.ndarray, "replicates"]]:
    """Fresh runs of the winners and of what each search ended with, which may be the same candidate."""
    finalists = [line.search.finalist for line in lines]
    distinct = list(dict.fromkeys([*(winner.candidate for winner in winners.values()), *finalists]))
    _, (scores,) = run_together(CHECK, [distinct], Rung(budget.check_replicates, budget.num_steps), evaluate)
    return dict(zip(distinct, scores, strict=True))


def _findings(
    lines: Sequence[_Line],
    winners: Mapping[str, Winner],
    scores: Mapping[Candidate, Float[np.ndarray, "replicates"]],
    scale: Scale,
    budget: CheckBudget,
    key: PRNGKeyArray,
    once: Once,
) -> list[Finding]:
    """What each search ended with against its winner."""
    findings, confidence = [], budget.line_confidence
    bounds = once(
        "remaining improvements",
        lambda: [
            remaining_improvement(line.search, scale, confidence, named_key(key, CHECK, place))
            for place, line in enumerate(lines)
        ],
    )
    for (name, start, search), bound in zip(lines, bounds, strict=True):
        reference = scores[winners[name].candidate]
        change = paired_change(scores[search.finalist], reference, confidence, scale)
        delta = largest_saving(change, bound, scale)
        findings.append(Finding(start, search.finalist, search.accepted, change, delta))
    return findings
    return findings
