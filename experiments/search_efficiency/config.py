"""What is searched, by which strategies, and how a search is judged."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from experiments.search_efficiency.searches import CURVES, DRAWN, RACES, Search
from experiments.study.options.checks import (
    EACH_ONCE,
    MOST,
    Between,
    Count,
    OneOf,
    RateRange,
    Several,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import Group, StudyConfig
from experiments.study.options.groups import Trained
from experiments.study.options.pairs import Budgets
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimized import Optimized
from schedules import FAMILIES, Interval
from schedules.search import STRATEGIES, Race, Rung, SearchSpace
from workloads.linear_regression import LARGEST_EXPONENT

DEFAULT = "trust_region"  # the best of those that search one family at a time
RANDOM = "random"
INCUMBENTS = 8  # of a search, as a guess
LARGEST_DIMENSION = 10_000

Families = Annotated[tuple[str, ...], OneOf(FAMILIES), entries(1), EACH_ONCE]
Seeds = Annotated[int, at_least(2), at_most(10_000)]


def each_strategy(scored: int, drawn: int, others: Mapping[str, int]) -> dict[str, int]:
    """Budgets: of strategies that learn from scores, of those that draw, and others by name."""
    return {name: drawn if name in DRAWN else scored for name in STRATEGIES} | others


@dataclass(frozen=True)
class Searches:
    """How the strategies search.

    Attributes:
      known_strategies: those that there are, which a class of searches names.
    """

    group: ClassVar[Group] = "search"
    known_strategies: ClassVar[tuple[str, ...]]

    learning_rates: RateRange = (0.1, 20.0)
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    budgets: Budgets = field(default_factory=dict)
    """Strategies, and the full-length runs at which each of their searches ends, as NAME NUMBER pairs."""
    seeds: Seeds = 20
    """Searches of each family by each strategy."""
    batch: Count = 4
    """Candidates that a strategy asks for at a time; those that draw candidates ask for many."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if not self.sound("budgets"):
            return
        yield from OneOf(self.known_strategies).problems("budgets", tuple(self.budgets))
        for name, budget in self.budgets.items():
            if not isinstance(budget, int) or not 1 <= budget <= MOST:
                yield f"budgets: must be whole numbers in [1, {MOST}], got {budget} for {name}."
        if not {DEFAULT, RANDOM} <= set(self.budgets):
            yield f"budgets: {DEFAULT} and {RANDOM} are what is compared, and cannot be left out."


@dataclass(frozen=True)
class Config(Searches, StudyConfig):
    """What all presets have in common."""

    families: Families = ("two_point_spline", "smooth_nonmonotonic")
    """Families to search, each on its own."""
    batch_size: Count = 8
    """Examples in a step."""
    num_steps: Count = 200
    """Steps in a full-length run, the unit of cost."""
    tolerance: Between = 0.01
    """How far above the best score known a near-optimal one may lie, as a fraction of it."""

    @property
    def spaces(self) -> dict[str, SearchSpace]:
        """What is searched, by the name of the family."""
        rates = Interval(*self.learning_rates, log=True)
        return {name: SearchSpace(FAMILIES[name], rates) for name in self.families}

    @property
    def planned_runs(self) -> int:
        """Runs of all searches at full length."""
        return len(self.families) * self.seeds * sum(self.budgets.values())

    @property
    def searches(self) -> list[Search]:
        """All searches, those of a family and a strategy together."""
        return [
            Search(family, strategy, seed)
            for family in self.families
            for strategy in self.budgets
            for seed in range(self.seeds)
        ]


@dataclass(frozen=True)
class Landscape(Config):
    """Searches of the expected loss of linear regression, by its mean field: exact, without noise."""

    most_runs = 10_000_000_000  # evaluations, of which only what improves is kept
    known_strategies = (*STRATEGIES, CURVES)

    budgets: Budgets = field(
        default_factory=lambda: each_strategy(1_200, 50_000, {RANDOM: 150_000, DEFAULT: 400, CURVES: 400})
    )
    """Strategies, and the evaluations at which each of their searches ends, as NAME NUMBER pairs."""
    dimension: Annotated[int, at_least(2), at_most(LARGEST_DIMENSION)] = 64
    """Parameters of the regression."""
    exponent: Annotated[float, at_least(0), at_most(LARGEST_EXPONENT)] = 1.0
    """a of the spectrum 1/k^a of its kernel."""
    polished: Count = 40
    """The best winners of all searches, each of which a descent by gradients goes on from."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("batch_size", "dimension") and self.batch_size > self.dimension:
            yield f"batch_size: must be at most the dimension {self.dimension}, got {self.batch_size}."

    @property
    def setting(self) -> str:
        """What is searched, in a line."""
        landscape = f"mean field of linear regression, D = {self.dimension}, 1/k^{self.exponent:g}"
        return f"{landscape}, batch {self.batch_size}, {self.num_steps} steps"


@dataclass(frozen=True)
class Replication:
    """With how many seeds training runs are measured, and searches judged."""

    group: ClassVar[Group] = "sureness"

    screen_replicates: Count = 3
    """Seeds that a search measures a candidate with."""
    fresh_replicates: Several = 200
    """Fresh seeds that judge every incumbent of every search."""
    confirm_replicates: Several = 100
    """The first of them, as many as a shape search confirms its winners with."""
    truth_replicates: Several = 1000
    """Other fresh seeds, for the default strategy's winners and the best candidates known."""
    finalists: Several = 5
    """Candidates of each family, the best by their fresh seeds, among which the best known is found."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        fresh, confirming = self.fresh_replicates, self.confirm_replicates
        if self.sound("fresh_replicates", "confirm_replicates") and confirming > fresh:
            yield f"confirm_replicates: are some of the {fresh} fresh_replicates, got {confirming}."


@dataclass(frozen=True)
class Training(Config, Replication, Optimized, Trained, WorkloadConfig):
    """Searches of real training runs, each candidate measured with a few seeds."""

    known_strategies = (*STRATEGIES, *(f"{name}+{race}" for name in STRATEGIES for race in RACES))

    families: Families = ("two_point_spline",)
    # what a shape search has unless told otherwise
    learning_rates: RateRange = (0.002, 0.5)
    batch_size: Count = 64
    num_steps: Count = 50
    budgets: Budgets = field(
        default_factory=lambda: each_strategy(
            600, 1_000, {**{f"{DEFAULT}+{race}": 450 for race in RACES}, DEFAULT: 450}
        )
    )
    """Strategies, and the full-length runs at which each of their searches ends, as NAME NUMBER pairs; with
    +seeds or +horizon behind its name, a strategy's candidates race."""

    @property
    def planned_runs(self) -> int:
        """About as many as the study takes: how often an incumbent changes is not known before."""
        searches = len(self.families) * len(self.budgets) * self.seeds
        judged = searches * INCUMBENTS * self.fresh_replicates
        truths = len(self.families) * (self.seeds + self.finalists) * self.truth_replicates
        return super().planned_runs + judged + truths

    @property
    def setting(self) -> str:
        """What is searched, in a line."""
        return f"{self.workload_text}, {self.optimizer}, batch {self.batch_size}, {self.num_steps} steps"

    def race(self, search: Search) -> Race:
        """How a search measures its candidates."""
        full = Rung(self.screen_replicates, self.num_steps)
        if not search.race:
            return Race((full,))
        replicates, length = RACES[search.race]
        first = Rung(max(1, round(replicates * full.replicates)), max(1, round(length * full.num_steps)))
        return Race((first, full))
