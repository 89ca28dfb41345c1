"""What a jobs folder searches."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.study.options.checks import (
    EACH_ONCE,
    MOST,
    Count,
    CountOrNone,
    OneOf,
    RateRange,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import StudyConfig
from experiments.study.options.parameter_groups import ParameterGroups
from schedules import FAMILIES, Family, Interval
from schedules.search import SearchSpace
from schedules.search.asynchronous import RunBudget
from schedules.search.joint import LEAST_RUNS

MODEL_STEPS = 1000  # of a curve, as the model sees it: of a longer run it sees as many points


@dataclass(frozen=True, kw_only=True)
class JobsConfig(ParameterGroups, StudyConfig):
    """What is searched, with jobs that are run by someone else."""

    num_steps: Count
    """The horizon: steps of a run, each with a learning rate of its own."""
    learning_rates: RateRange
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    trunk_steps: CountOrNone = 0
    """Steps of a trunk, before those that are searched, from whose end every run goes on: a trial names its
    trunk, the same for one seed, which is trained and saved once."""
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
        return SearchSpace(self.grouped(family), Interval(*self.learning_rates, log=True))
