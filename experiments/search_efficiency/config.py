"""What is searched, by which strategies, and how a search is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from experiments.search_efficiency.searches import DRAWN, RACES, Search
from experiments.shape_search import Config as ShapeSearch
from experiments.study.choices import StudyError, choice_problem
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.options import Budgets, WorkloadOptions
from schedules import FAMILIES, Interval
from schedules.search import STRATEGIES, Race, Rung, SearchSpace

DEFAULT = ShapeSearch.strategy  # what a shape search uses unless told otherwise
RANDOM = "random"
INCUMBENTS = 8  # of a search, as a guess


@dataclass(frozen=True)
class Config:
    """What all presets have in common."""

    families: tuple[str, ...] = ("two_point_spline", "smooth_nonmonotonic")
    """Families to search, each on its own."""
    learning_rates: tuple[float, float] = (0.1, 20.0)
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    batch_size: int = 8
    """Examples in a step."""
    num_steps: int = 200
    """Steps in a full-length run, the unit of cost."""
    seeds: int = 20
    """Searches of each family by each strategy."""
    batch: int = 4
    """Candidates that a strategy asks for at a time; those that draw candidates ask for many."""
    tolerance: float = 0.01
    """How far above the best score known a near-optimal one may lie, as a fraction of it."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [problem for problem in [*self._choice_problems(), *self._number_problems()] if problem]
        if problems:
            raise StudyError("\n".join(problems))

    def _choice_problems(self) -> list[str | None]:
        problems = [choice_problem("families", name, FAMILIES) for name in self.families]
        if not self.families or len(set(self.families)) < len(self.families):
            problems.append(f"families: needs at least one, each once, got {self.families}.")
        for name, budget in self.budgets.items():
            problems.append(choice_problem("budgets", name, self.known_strategies))
            if not isinstance(budget, int) or budget < 1:
                problems.append(f"budgets: must be whole numbers of at least 1, got {budget} for {name}.")
        if not {DEFAULT, RANDOM} <= set(self.budgets):
            problems.append(f"budgets: {DEFAULT} and {RANDOM} are what is compared, and cannot be left out.")
        return problems

    def _number_problems(self) -> list[str]:
        problems = [
            f"{name}: must be at least {low}, got {getattr(self, name)}."
            for name, low in self.least.items()
            if getattr(self, name) < low
        ]
        for name in ("tolerance", "confidence"):
            if not 0 < getattr(self, name) < 1:
                problems.append(f"{name}: must be between 0 and 1, got {getattr(self, name)}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        low, high = self.learning_rates
        if not 0 < low < high < float("inf"):
            problems.append(f"learning_rates: must be positive, finite and ascending, got {low, high}.")
        return problems

    @property
    def least(self) -> dict[str, int]:
        """The lowest value of each count."""
        return {"batch_size": 1, "num_steps": 1, "seeds": 2, "batch": 1}

    @property
    def spaces(self) -> dict[str, SearchSpace]:
        """What is searched, by the name of the family."""
        rates = Interval(*self.learning_rates, log=True)
        return {name: SearchSpace(FAMILIES[name], rates) for name in self.families}

    @property
    def planned_runs(self) -> int:
        """Runs of all searches at full length."""
        return sum(self.budgets[search.strategy] for search in self.searches)

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

    budgets: Budgets = field(
        default_factory=lambda: {
            **{name: 1_200 for name in STRATEGIES if name not in DRAWN},
            **{name: 50_000 for name in STRATEGIES if name in DRAWN},
            RANDOM: 150_000,
            DEFAULT: 400,
        }
    )
    """Strategies, and the evaluations at which each of their searches ends, as NAME NUMBER pairs."""
    dimension: int = 64
    """Parameters of the regression."""
    exponent: float = 1.0
    """a of the spectrum 1/k^a of its kernel."""
    polished: int = 40
    """The best winners of all searches, each of which a descent by gradients goes on from."""

    @property
    def known_strategies(self) -> list[str]:
        return list(STRATEGIES)

    @property
    def least(self) -> dict[str, int]:
        return {**super().least, "dimension": 2, "polished": 1}

    def _number_problems(self) -> list[str]:
        problems = super()._number_problems()
        if self.batch_size > self.dimension:
            problems.append(f"batch_size: must be at most the dimension {self.dimension}.")
        if self.exponent < 0:
            problems.append(f"exponent: must not be negative, got {self.exponent}.")
        return problems


@dataclass(frozen=True)
class Training(Config):
    """Searches of real training runs, each candidate measured with a few seeds."""

    families: tuple[str, ...] = ("two_point_spline",)
    """Families to search, each on its own."""
    learning_rates: tuple[float, float] = ShapeSearch.learning_rates
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    batch_size: int = ShapeSearch.batch_size
    """Examples in a step."""
    num_steps: int = 50
    """Steps in a full-length run, the unit of cost."""
    budgets: Budgets = field(
        default_factory=lambda: {
            **{name: 600 for name in STRATEGIES if name not in DRAWN},
            **{name: 1_000 for name in STRATEGIES if name in DRAWN},
            **{f"{DEFAULT}+{race}": 450 for race in RACES},
            DEFAULT: 450,
        }
    )
    """Strategies, and the full-length runs at which each of their searches ends, as NAME NUMBER pairs; with
    +seeds or +horizon behind its name, a strategy's candidates race."""
    workload: str = ShapeSearch.workload
    """What to train: digits, linear_regression or shakespeare."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    metric: str = ShapeSearch.metric
    """Metric at the end of training to minimise."""
    optimizer: Literal[tuple(OPTIMIZERS)] = ShapeSearch.optimizer
    """What the schedule drives, without weight decay."""
    screen_replicates: int = 3
    """Seeds that a search measures a candidate with."""
    fresh_replicates: int = 200
    """Fresh seeds that judge every incumbent of every search."""
    confirm_replicates: int = 100
    """The first of them, as many as a shape search confirms its winners with."""
    truth_replicates: int = 1000
    """Other fresh seeds, for the default strategy's winners and the best candidates known."""
    finalists: int = 5
    """Candidates of each family, the best by their fresh seeds, among which the best known is found."""

    @property
    def known_strategies(self) -> list[str]:
        raced = [f"{name}+{race}" for name in STRATEGIES for race in RACES]
        return [*STRATEGIES, *raced]

    @property
    def least(self) -> dict[str, int]:
        counts = ("fresh_replicates", "confirm_replicates", "truth_replicates", "finalists")
        return {**super().least, "screen_replicates": 1, **dict.fromkeys(counts, 2)}

    def _choice_problems(self) -> list[str | None]:
        return [*super()._choice_problems(), choice_problem("optimizer", self.optimizer, OPTIMIZERS)]

    def _number_problems(self) -> list[str]:
        problems = super()._number_problems()
        if self.confirm_replicates > self.fresh_replicates:
            problems.append(f"confirm_replicates: are some of the {self.fresh_replicates} fresh_replicates.")
        return problems

    @property
    def planned_runs(self) -> int:
        """About as many as the study takes: how often an incumbent changes is not known before."""
        judged = len(self.searches) * INCUMBENTS * self.fresh_replicates
        truths = len(self.families) * (self.seeds + self.finalists) * self.truth_replicates
        return super().planned_runs + judged + truths

    def race(self, search: Search) -> Race:
        """How a search measures its candidates."""
        full = Rung(self.screen_replicates, self.num_steps)
        if not search.race:
            return Race((full,))
        replicates, length = RACES[search.race]
        first = Rung(max(1, round(replicates * full.replicates)), max(1, round(length * full.num_steps)))
        return Race((first, full))


PRESETS: Mapping[str, Config] = MappingProxyType({"landscape": Landscape(), "digits": Training()})
