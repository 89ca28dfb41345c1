"""Which methods search which shapes, and how their choices are judged."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple

from experiments.search_efficiency.all_shapes.optuna_asks import SAMPLERS
from experiments.search_efficiency.config import Families
from experiments.search_efficiency.searches import CURVES
from experiments.study.options.checks import (
    ASCENDING,
    MOST,
    Count,
    OneOf,
    RateRange,
    Several,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import Group
from experiments.study.options.groups import Trained
from experiments.study.options.pairs import Budgets
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimized import Optimized
from schedules import FAMILIES, Interval
from schedules.search import STRATEGIES, CurveBudget, SearchSpace
from schedules.search.curves import Exploration
from schedules.search.joint import LEAST_RUNS

ALL = "all"  # the space of all families
FINALISTS_OF_CURVES = 2  # the search for the best known names its winner, and what challenged it
MOST_SEARCHES = 10_000  # of a contestant


class Contestant(NamedTuple):
    """A method and what it searches: one family, or all."""

    method: str
    space: str

    @classmethod
    def named(cls, name: str) -> "Contestant":
        return cls(*name.split("/"))

    def __str__(self) -> str:
        return f"{self.method}/{self.space}"


DEFAULT = Contestant(CURVES, ALL)
NAMES = (  # of all contestants there can be
    *(f"{method}/{space}" for method in (CURVES, *SAMPLERS) for space in (ALL, *FAMILIES)),
    *(f"{strategy}/{name}" for strategy in STRATEGIES for name in FAMILIES),
)


class Search(NamedTuple):
    """One of a contestant's searches."""

    contestant: Contestant
    seed: int

    @property
    def name(self) -> str:
        """That of its runs in the journal, and of the seeds that they have."""
        return f"{self.contestant} {self.seed}"


def contest(searches: int, modelled: int) -> dict[str, int]:
    """So many searches a contestant, and of Optuna's Gaussian process, which takes longest to ask."""
    sampled = ("tpe/wsd", "tpe/all", "tpe/cosine_floor")
    others = ("trust_region/wsd", "random/wsd", "cmaes/wsd")
    counts = {
        str(DEFAULT): searches,
        **dict.fromkeys(sampled, searches),
        **dict.fromkeys(("gp/wsd", "gp/all"), modelled),
    }
    return counts | dict.fromkeys(others, searches)


@dataclass(frozen=True)
class Contest:
    """Who searches, and for how long."""

    group: ClassVar[Group] = "search"

    contestants: Budgets = field(default_factory=lambda: contest(20, 10))
    """Methods with what they search, one family or all, and how many searches each makes, as METHOD/SPACE
    NUMBER pairs. tpe and gp are Optuna's samplers, of the extra incumbents."""
    families: Families = tuple(FAMILIES)
    """Families that make up the space of all."""
    learning_rates: RateRange = (0.002, 0.5)
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    batch: Annotated[int, at_least(2), at_most(MOST)] = 8
    """Candidates that every method asks for at a time."""
    checkpoints: Annotated[tuple[Count, ...], entries(1), ASCENDING] = (24, 40, 60, 100, 160)
    """Runs, each with one seed, after which a search names its choice; with the last ones it ends."""
    known_runs: Annotated[int, at_least(LEAST_RUNS), at_most(MOST)] = 20_000
    """Runs of the search for the best curve known, with the model of all curves."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if not self.sound("contestants", "families"):
            return
        yield from OneOf(NAMES).problems("contestants", tuple(self.contestants))
        for name, number in self.contestants.items():
            space = name.partition("/")[2]
            if name in NAMES and space not in (ALL, *self.families):
                yield f"contestants: {name} searches what is not among the families."
            if not isinstance(number, int) or not 2 <= number <= MOST_SEARCHES:
                yield f"contestants: must be in [2, {MOST_SEARCHES}] searches, got {number} for {name}."
        if str(DEFAULT) not in self.contestants:
            yield f"contestants: {DEFAULT} is what is judged, and cannot be left out."

    @property
    def searches(self) -> list[Search]:
        """All searches, those of a contestant together."""
        return [
            Search(Contestant.named(name), seed)
            for name, count in self.contestants.items()
            for seed in range(count)
        ]

    @property
    def runs(self) -> int:
        """Of a search."""
        return self.checkpoints[-1]

    def spaces(self, contestant: Contestant = DEFAULT) -> dict[str, SearchSpace]:
        """What a contestant searches, by the name of the family."""
        names = self.families if contestant.space == ALL else (contestant.space,)
        rates = Interval(*self.learning_rates, log=True)
        return {name: SearchSpace(FAMILIES[name], rates) for name in names}


@dataclass(frozen=True)
class Judging:
    """With how many seeds choices are judged."""

    group: ClassVar[Group] = "sureness"

    fresh_replicates: Several = 200
    """Fresh seeds that judge every choice of every search, the same for all."""
    truth_replicates: Several = 1000
    """Other fresh seeds, for the best curves known."""
    finalists: Several = 5
    """The best choices by their fresh seeds; the best known is among them and the largest search's."""


@dataclass(frozen=True)
class AllShapes(Contest, Judging, Optimized, Trained, WorkloadConfig):
    """Searches with runs of one seed, judged by how far their choices lie above the best curve known."""

    batch_size: Count = 64
    """Examples in a step."""
    num_steps: Count = 100
    """Steps in a run."""

    @property
    def planned_runs(self) -> int:
        """Of all, where every search names another choice at each checkpoint."""
        judged = len(self.searches) * len(self.checkpoints) * self.fresh_replicates
        truths = (self.finalists + FINALISTS_OF_CURVES) * self.truth_replicates
        return len(self.searches) * self.runs + judged + self.known_runs + truths

    @property
    def exploration(self) -> Exploration:
        """Of a search by the model of curves."""
        return Exploration(self.runs, self.batch, rounds=0, top=1, num_steps=self.num_steps)

    @property
    def known_budget(self) -> CurveBudget:
        """Of the search for the best curve known."""
        return CurveBudget(self.known_runs, len(self.families), self.num_steps, self.batch, self.confidence)

    @property
    def setting(self) -> str:
        """What is searched, in a line."""
        return f"{self.workload_text}, {self.optimizer}, batch {self.batch_size}, {self.num_steps} steps"
