"""What a jobs folder searches."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.study.options.checks import (
    EACH_ONCE,
    MOST,
    Check,
    Count,
    OneOf,
    RateRange,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import StudyConfig
from schedules import FAMILIES, Family, Interval
from schedules.groups import in_groups
from schedules.search import SearchSpace
from schedules.search.asynchronous import RunBudget
from schedules.search.joint import LEAST_RUNS

MODEL_STEPS = 1000  # of a curve, as the model sees it: of a longer run it sees as many points
GROUPS = Check(
    "two names of letters, digits, - and _",
    lambda groups: len(groups) in (0, 2) and all(re.fullmatch(r"[\w-]+", name) for name in groups),
)


@dataclass(frozen=True, kw_only=True)
class JobsConfig(StudyConfig):
    """What is searched, with jobs that are run by someone else."""

    num_steps: Count
    """The horizon: steps of a run, each with a learning rate of its own."""
    learning_rates: RateRange
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    groups: Annotated[tuple[str, ...], EACH_ONCE, GROUPS] = ()
    """Two groups of parameters with a curve each, such as matrices and aux: that of the second is the first's
    times a ratio, which is searched too. All parameters have one curve when not given."""
    ratios: RateRange = (0.01, 100.0)
    """Lowest and highest ratio of the second group's learning rates to the first's, searched on a logarithmic
    scale."""
    families: Annotated[tuple[str, ...], OneOf(FAMILIES), EACH_ONCE, entries(1)] = tuple(FAMILIES)
    """Families of shapes to search."""
    runs: Annotated[int, at_least(LEAST_RUNS), at_most(MOST)] = 120
    """Runs in all, the confirming ones included."""
    metric_name: str = "loss"
    """What the jobs tell; it is minimised."""
    maximize: bool = False
    """Maximise it instead, such as an accuracy."""
    unseeded: bool = False
    """The jobs take no seed: trials have none."""
    attempts: Count = 3
    """How often a trial is asked for that fails; after that it counts as diverged."""

    most_runs: ClassVar[int] = 100_000

    def joint_problems(self) -> Iterator[str]:
        if not self.groups and self.ratios != JobsConfig.ratios:
            yield "ratios: are those of two groups, and there are none."

    @property
    def planned_runs(self) -> int:
        return self.runs

    @property
    def budget(self) -> RunBudget:
        return RunBudget(self.runs, min(self.num_steps, MODEL_STEPS), confidence=self.confidence)

    @property
    def spaces(self) -> dict[str, SearchSpace]:
        """What is searched, by the name of the family."""
        return {name: self.space(FAMILIES[name]) for name in self.families}

    def space(self, family: Family) -> SearchSpace:
        """What is searched of a family, which has a curve for each group where there are groups."""
        grouped = in_groups(family, Interval(*self.ratios, log=True)) if self.groups else family
        return SearchSpace(grouped, Interval(*self.learning_rates, log=True))
