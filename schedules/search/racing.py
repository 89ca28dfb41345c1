"""Racing: every candidate is measured cheaply, and only those in front are measured in full.

Successive halving over seeds and over the horizon in its asynchronous form: a candidate goes on to the next
rung if it is in the better part of all that ran on this one so far, so batches of any size can race. The
seeds are paired: a replicate has the same keys for all. Source: Li et al. (2020), arXiv:1810.05934.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from schedules.search.scale import Scale
from schedules.search.trial import Candidate, Trial

SCREEN, CONFIRM = "screen", "confirm"  # stages: in which candidates race, and which alone is reported
Evaluate = Callable[[Sequence[Trial]], Mapping[Trial, float]]


@dataclass(frozen=True)
class Rung:
    """How a candidate is measured: runs with different seeds, and the steps of each.

    Raises ValueError where either is below 1.
    """

    replicates: int
    num_steps: int

    def __post_init__(self):
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class Race:
    """The rungs from the cheapest to the full measurement, and the fraction that goes on from each.

    Raises ValueError where there is no rung, one asks for less than the one before it, or the fraction is not
    in (0, 1].
    """

    rungs: tuple[Rung, ...]
    keep_fraction: float = 0.5

    def __post_init__(self):
        rising = all(
            low.replicates <= high.replicates and low.num_steps <= high.num_steps
            for low, high in zip(self.rungs[:-1], self.rungs[1:], strict=True)
        )
        if not self.rungs or not rising:
            raise ValueError(
                f"rungs must be at least one, none asking for less than before, got {self.rungs}"
            )
        if not 0 < self.keep_fraction <= 1:
            raise ValueError(f"keep_fraction must be in (0, 1], got {self.keep_fraction}")


class Raced(NamedTuple):
    """A candidate with its median score on each rung that it ran on."""

    candidate: Candidate
    medians: tuple[float, ...]


def race(
    stage: str,
    asked: Mapping[str, Sequence[Candidate]],
    earlier: Mapping[str, Sequence[Raced]],
    rules: Race,
    evaluate: Evaluate,
) -> dict[str, tuple[Raced, ...]]:
    """Measure the candidates that each group asks for, in the order asked.

    Groups race among themselves; `earlier` holds what each raced earlier. All groups' trials of a rung are
    evaluated in one call.
    """
    raced = {name: [Raced(candidate, ()) for candidate in group] for name, group in asked.items()}
    for place, rung in enumerate(rules.rungs):
        running = {
            name: _running(group, [*earlier[name], *group], place, rules) for name, group in raced.items()
        }
        pairs = [(name, row) for name, rows in running.items() for row in rows]
        medians = median_scores(stage, [raced[name][row].candidate for name, row in pairs], rung, evaluate)
        for (name, row), median in zip(pairs, medians, strict=True):
            runner = raced[name][row]
            raced[name][row] = runner._replace(medians=(*runner.medians, median))
    return {name: tuple(group) for name, group in raced.items()}


def rung_medians(raced: Sequence[Raced], rules: Race) -> Float[np.ndarray, "candidates rungs"]:
    """The median score of each candidate on each rung; NaN where it did not run."""
    table = np.full((len(raced), len(rules.rungs)), np.nan)
    for row, candidate in zip(table, raced, strict=True):
        row[: len(candidate.medians)] = candidate.medians
    return table


def told_scores(medians: Float[np.ndarray, "candidates rungs"]) -> Float[np.ndarray, "candidates"]:
    """One comparable score each: the last rung's, or, for those that dropped out, that of their last rung
    changed as the finished ones' medians changed between the two, by a factor or by a term; see `Scale`."""
    ran = ~np.isnan(medians)
    scale, finished = Scale.of(medians[ran]), medians[ran[:, -1]]
    rungs = zip(medians.T[:-1], finished.T[:-1], strict=True)
    carried = [_carried(scores, medians_then, finished[:, -1], scale) for scores, medians_then in rungs]
    last = ran.sum(axis=1) - 1
    return np.take_along_axis(np.stack([*carried, medians[:, -1]], axis=1), last[:, None], axis=1)[:, 0]


def median_scores(stage: str, candidates: Sequence[Candidate], rung: Rung, evaluate: Evaluate) -> list[float]:
    """The median over the rung's replicates for each candidate."""
    return [float(np.median(scores)) for scores in replicate_scores(stage, candidates, rung, evaluate)]


def replicate_scores(
    stage: str, candidates: Sequence[Candidate], rung: Rung, evaluate: Evaluate
) -> list[Float[np.ndarray, "replicates"]]:
    """The score of each replicate of each candidate. Raises ValueError where one is NaN or -inf."""
    trials = [
        [Trial(stage, candidate, rung.num_steps, replicate) for replicate in range(rung.replicates)]
        for candidate in candidates
    ]
    scores = trial_scores([trial for group in trials for trial in group], evaluate)
    return [np.array([scores[trial] for trial in group]) for group in trials]


def trial_scores(trials: Sequence[Trial], evaluate: Evaluate) -> Mapping[Trial, float]:
    """The score of each, in the order asked. Raises ValueError where one is NaN or -inf."""
    evaluated = evaluate(trials) if trials else {}
    scores = {trial: evaluated[trial] for trial in trials}
    for trial, score in scores.items():
        if not score > -math.inf:
            got = str(score).replace("nan", "NaN")
            raise ValueError(f"a score must be a number, or +inf where a run diverged, got {got} for {trial}")
    return scores


def _running(asked: Sequence[Raced], rivals: Sequence[Raced], place: int, rules: Race) -> list[int]:
    """Which of those asked for run on the rung at `place`: all on the first, then those among the better ones
    of all that ran on the rung before; one that diverged is so only where all did."""
    if place == 0:
        return list(range(len(asked)))
    scores = sorted(rival.medians[place - 1] for rival in rivals if len(rival.medians) >= place)
    finite = [score for score in scores if score < math.inf] or scores
    kept = math.ceil(rules.keep_fraction * len(scores))
    worst = finite[min(kept, len(finite)) - 1]
    return [
        row
        for row, runner in enumerate(asked)
        if len(runner.medians) == place and runner.medians[-1] <= worst
    ]


def _carried(
    scores: Float[np.ndarray, "candidates"],
    earlier: Float[np.ndarray, "finished"],
    later: Float[np.ndarray, "finished"],
    scale: Scale,
) -> Float[np.ndarray, "candidates"]:
    """A rung's scores as they may become on the last one; as they are where no finished median tells."""
    if not len(earlier) or np.isinf(np.median(earlier)) or np.isinf(np.median(later)):
        return scores
    if scale is Scale.RELATIVE:
        return scores * (np.median(later) / np.median(earlier))
    return scores + (np.median(later) - np.median(earlier))
