"""The search for the best shape of each family: ask, evaluate, tell.

1. screen: the strategy asks for shapes with base learning rates; each is raced, at most to the median over
   the last rung's replicates.
2. select: the top candidates of each family again, with fresh seeds; the best is the winner.
3. confirm: each winner with many more fresh seeds. Only these scores are reported: the earlier ones chose
   the winner, and so flatter it.

Source of the procedure: Naganuma et al. (2026), arXiv:2603.10301, with random shapes crossed with a grid of
learning rates; the other strategies, and choosing and reporting on separate seeds, are this project's.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.search.keys import named_key
from schedules.search.racing import (
    CONFIRM,
    SCREEN,
    Evaluate,
    Race,
    Raced,
    Rung,
    median_scores,
    race,
    replicate_scores,
    rung_medians,
    told_scores,
)
from schedules.search.recall import Once, anew
from schedules.search.strategy import Strategy
from schedules.search.trial import Candidate, SearchSpace

SELECT = "select"


@dataclass(frozen=True)
class Budget:
    """How much to measure.

    Attributes:
      candidates: shapes with a learning rate that each family's search asks for.
      batch: how many it asks for at a time.
      race: how a candidate is measured in the screening; the last rung's steps are those of all fresh runs.
      top: candidates per family that are measured again.
      select_replicates, confirm_replicates: fresh seeds that choose the winner, and that score it.

    Raises ValueError for a count below 1.
    """

    candidates: int
    batch: int
    race: Race
    top: int
    select_replicates: int
    confirm_replicates: int

    def __post_init__(self):
        for name, value in vars(self).items():
            if name != "race" and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    @property
    def num_steps(self) -> int:
        return self.race.rungs[-1].num_steps


class Winner(NamedTuple):
    """The best candidate of a family, and the scores of its fresh, confirming runs, one a replicate."""

    candidate: Candidate
    scores: Float[np.ndarray, "replicates"]

    @property
    def base_lr(self) -> float:
        return self.candidate.base_lr


class Findings(NamedTuple):
    """A finished search.

    Attributes:
      screened: every family's candidates in the order asked.
      told: the score of each that its strategy was told.
      winners: each family's.
    """

    screened: Mapping[str, tuple[Raced, ...]]
    told: Mapping[str, Float[np.ndarray, "candidates"]]
    winners: Mapping[str, Winner]


def search_shapes(
    spaces: Sequence[SearchSpace],
    strategy: Callable[[int, int], Strategy],
    budget: Budget,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once = anew,
) -> Findings:
    """Search every family with the same budget.

    Args:
      spaces: what to search.
      strategy: (dimensions, batch) → the strategy that asks for points of a unit cube.
      budget: see `Budget`.
      key: what the candidates are drawn with.
      evaluate: trials → the score of each, +inf where it diverged; free to remember and to compute in any
        order. It is called with many trials of equal length at once, again with those it knows where a
        candidate runs on with more seeds.
      once: (name, make) → what was made under the name before, as JSON holds it; `make()` where nothing was.
        A strategy is asked through it.

    Raises:
      ValueError: two families share a name, or a score is NaN.
    """
    by_name = {space.family.name: space for space in spaces}
    if len(by_name) < len(spaces):
        names = [space.family.name for space in spaces]
        raise ValueError(f"families must have different names, got {names}")
    screened = _screen(by_name, strategy, budget, key, evaluate, once)
    told = {name: told_scores(rung_medians(raced, budget.race)) for name, raced in screened.items()}
    top = {name: best_measured(raced, budget) for name, raced in screened.items()}
    chosen = select(top, Rung(budget.select_replicates, budget.num_steps), evaluate)
    rung = Rung(budget.confirm_replicates, budget.num_steps)
    return Findings(screened, told, confirm(chosen, rung, evaluate))


def confirm(chosen: Mapping[str, Candidate], rung: Rung, evaluate: Evaluate) -> dict[str, Winner]:
    """Score candidates, one a group, with fresh seeds that chose none of them."""
    scores = replicate_scores(CONFIRM, list(chosen.values()), rung, evaluate)
    return {name: Winner(chosen[name], replicates) for name, replicates in zip(chosen, scores, strict=True)}


def _screen(
    spaces: Mapping[str, SearchSpace],
    strategy: Callable[[int, int], Strategy],
    budget: Budget,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once,
) -> dict[str, tuple[Raced, ...]]:
    strategies = {name: strategy(space.dimensions, budget.batch) for name, space in spaces.items()}
    starts = {
        name: searcher.init(named_key(key, "candidates", name)) for name, searcher in strategies.items()
    }
    points = {name: start.points for name, start in starts.items()}
    raced: dict[str, tuple[Raced, ...]] = dict.fromkeys(spaces, ())
    medians = {name: rung_medians((), budget.race) for name in spaces}

    def proposals(first: int) -> dict[str, list[dict[str, Any]]]:
        made = {}
        for name, searcher in strategies.items():
            # told anew each time: what finishes later changes what the score of those that dropped out means
            history = searcher.tell(starts[name], points[name], told_scores(medians[name]))
            made[name] = spaces[name].proposals(searcher.ask(history)[: budget.candidates - first])
        return made

    for first in range(0, budget.candidates, budget.batch):
        made = once(f"{SCREEN} from {first}", functools.partial(proposals, first))
        asked = {}
        for name, space in spaces.items():
            latest, asked[name] = space.proposed(made[name], first)
            points[name] = np.concatenate([points[name], latest.astype(np.float32)])
        batch = race(SCREEN, asked, raced, budget.race, evaluate)
        raced = {name: raced[name] + batch[name] for name in spaces}
        medians = {
            name: np.concatenate([earlier, rung_medians(batch[name], budget.race)])
            for name, earlier in medians.items()
        }
    return raced


def best_measured(raced: Sequence[Raced], budget: Budget) -> list[Candidate]:
    """The top candidates of a family by their medians over the last rung; equal ones in the order asked."""
    measured = [entry for entry in raced if len(entry.medians) == len(budget.race.rungs)]
    ordered = sorted(measured, key=lambda entry: entry.medians[-1])
    return [entry.candidate for entry in ordered[: budget.top]]


def select(top: Mapping[str, Sequence[Candidate]], rung: Rung, evaluate: Evaluate) -> dict[str, Candidate]:
    """Each group's best by fresh seeds; equal scores go to the earlier one."""
    candidates = [candidate for group in top.values() for candidate in group]
    selected = dict(zip(candidates, median_scores(SELECT, candidates, rung, evaluate), strict=True))
    return {
        name: min(group, key=lambda candidate: (selected[candidate], candidate.number))
        for name, group in top.items()
    }
