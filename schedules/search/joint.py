"""The search for the best shape of each family through one model of all curves, within one number of runs.

1. explore: see `schedules.search.curves`.
2. select: the candidates of each family that the model expects most of, with fresh seeds.
3. confirm: each winner with more fresh seeds, which alone are reported.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import PRNGKeyArray

from schedules.search.challenge import challenge
from schedules.search.curves import Exploration, Scores, explore, model_of, proposed, raced, ranked, refined
from schedules.search.keys import named_key
from schedules.search.procedure import Findings, confirm, select
from schedules.search.racing import Evaluate, Rung
from schedules.search.recall import Once, anew
from schedules.search.trial import Candidate, SearchSpace
from schedules.search.verdicts import Verdict

EXPLORED = 0.3  # of all runs, or more where there are few:
EXPLORED_AT_MOST, EXPLORED_FIRST = 0.6, 300
REFINED = 3  # rounds, where every family can have them within half of the exploration
TOP = 4  # candidates of a family that are refined and selected from, at most
LEAST_CONFIRMED = 3  # families: a winner beside two baselines
LEAST_RUNS = 24  # with which anything is found
LEAST_SELECT, LEAST_CONFIRM, MOST_CONFIRM = 5, 8, 100  # fresh seeds


@dataclass(frozen=True)
class CurveBudget:
    """What so many runs are spent on.

    Three tenths explore, or up to 300 runs where that is at most six tenths; the rest selects, confirms and
    checks in equal parts. Few runs confirm few families: those that the model holds for the best.

    Attributes:
      runs: in all.
      families: how many are searched.
      num_steps: of every run.
      batch: the fewest runs that share a seed.
      confidence: of the verdict.

    Raises ValueError for fewer than 24 runs, a count below 1 or a batch below 2.

    >>> budget = CurveBudget(runs=7_000, families=18, num_steps=100)
    >>> budget.explored, budget.confirmed, budget.confirm_replicates, budget.top, budget.checks
    (2100, 18, 90, 4, 1696)
    >>> budget = CurveBudget(runs=40, families=18, num_steps=100)
    >>> budget.explored, budget.confirmed, budget.confirm_replicates, budget.top, budget.checks
    (24, 3, 5, 1, 1)
    """

    runs: int
    families: int
    num_steps: int
    batch: int = 8
    confidence: float = 0.95

    def __post_init__(self):
        least = {"runs": LEAST_RUNS, "families": 1, "num_steps": 1, "batch": 2}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise ValueError(f"{name} must be at least {lowest}, got {getattr(self, name)}")

    @property
    def explored(self) -> int:
        few = min(EXPLORED_FIRST, round(EXPLORED_AT_MOST * self.runs))
        return max(few, round(EXPLORED * self.runs))

    @property
    def exploration(self) -> Exploration:
        refined = REFINED * TOP * self.families
        rounds = REFINED if refined <= self.explored / 2 else 0
        runs = self.explored - rounds * TOP * self.families
        return Exploration(runs, self.batch, rounds, TOP, self.num_steps)

    @property
    def part(self) -> int:
        """What selects, and what confirms."""
        return (self.runs - self.explored) // 3

    @property
    def confirm_replicates(self) -> int:
        return min(max(self.part // self.families, LEAST_CONFIRM), MOST_CONFIRM, self.part)

    @property
    def confirmed(self) -> int:
        """Families, the baselines among them."""
        return min(self.families, max(self.part // self.confirm_replicates, LEAST_CONFIRMED))

    @property
    def top(self) -> int:
        return max(1, min(TOP, self.part // self.confirmed // LEAST_SELECT))

    @property
    def select_replicates(self) -> int:
        return self.part // self.confirmed // self.top

    @property
    def checks(self) -> int:
        """What is left for the verdict."""
        selected = self.confirmed * self.top * self.select_replicates if self.top > 1 else 0
        return self.runs - self.explored - selected - self.confirmed * self.confirm_replicates


class Searched(NamedTuple):
    """A finished search of all families at once.

    Attributes:
      findings: as of `search_shapes`.
      verdict: on the best winner, among all curves.
      scores: the runs that the verdict rests on, and with it a model of curves; see `model_of`.
    """

    findings: Findings
    verdict: Verdict
    scores: Scores


def search_curves(
    spaces: Sequence[SearchSpace],
    baselines: Sequence[str],
    budget: CurveBudget,
    key: PRNGKeyArray,
    evaluate: Evaluate,
    once: Once = anew,
) -> Searched:
    """Search all families at once, and ask how much better than the best winner any curve can be.

    Args:
      spaces: what to search.
      baselines: families that are confirmed whatever the model expects of them, two at most.
      budget, key, evaluate, once: see `CurveBudget`, and as for `search_shapes`.

    Raises ValueError where two families share a name, a baseline is none of them, or a score is NaN or
    -inf.
    """
    by_name = {space.family.name: space for space in spaces}
    if len(by_name) < len(spaces):
        names = [space.family.name for space in spaces]
        raise ValueError(f"families must have different names, got {names}")
    if not set(baselines) <= set(by_name):
        raise ValueError(f"baselines must be among the families {list(by_name)}, got {baselines}")
    scores = explore(by_name, budget.exploration, key, evaluate, once)
    top = _top(by_name, scores, baselines, budget, key, once)
    if budget.top > 1:
        chosen = select(top, Rung(budget.select_replicates, budget.num_steps), evaluate)
    else:
        chosen = {name: group[0] for name, group in top.items()}
    winners = confirm(chosen, Rung(budget.confirm_replicates, budget.num_steps), evaluate)
    screened = raced(scores, list(by_name))
    told = {name: np.array([entry.medians[0] for entry in group]) for name, group in screened.items()}
    best = min(winners.values(), key=lambda winner: np.median(winner.scores))
    checking = named_key(key, "challenge")
    verdict, known = challenge(
        best, by_name, scores, budget.checks, budget.confidence, checking, evaluate, once
    )
    return Searched(Findings(screened, told, winners), verdict, known)


def _top(
    spaces: Mapping[str, SearchSpace],
    scores: Scores,
    baselines: Sequence[str],
    budget: CurveBudget,
    key: PRNGKeyArray,
    once: Once,
) -> dict[str, list[Candidate]]:
    """The candidates to select from: of the baselines, and of the families that the model expects most of.

    Of a baseline that no run had, the model proposes them.
    """
    asked = {(trial.candidate.family.name, trial.candidate.number): trial.candidate for trial in scores}
    order = once("ranked", lambda: [[c.family.name, c.number] for c in ranked(scores, model_of(scores))])
    groups: dict[str, list[Candidate]] = {}
    for name, number in order:
        groups.setdefault(name, []).append(asked[name, number])
    for name in [name for name in baselines if name not in groups]:
        propose = functools.partial(refined, {name: spaces[name]}, scores, budget.top, key)
        groups[name] = proposed(spaces, once(f"baseline {name}", propose))
    first = sorted(groups, key=lambda name: name not in baselines)  # the others as they are ranked
    return {name: groups[name][: budget.top] for name in first[: budget.confirmed]}
