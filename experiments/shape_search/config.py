"""What a shape search searches."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from experiments.study.choices import StudyError, choice_problem
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.options import WorkloadOptions
from schedules import FAMILIES, Family
from schedules.search import STRATEGIES, Budget, RateGrid
from schedules.shapes import DECAY_FORMS
from schedules.warmup import WARMUPS

BASELINES = ("cosine", "constant")  # searched in every study, as what the winner is compared with


@dataclass(frozen=True)
class Config:
    """What is searched; it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train: digits, linear_regression or shakespeare."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    families: tuple[str, ...] = tuple(FAMILIES)
    """Families to search; cosine and constant are always added, to compare with."""
    warmup_form: Literal[tuple(WARMUPS)] = "linear"
    """How every family with a warm-up rises."""
    decay_form: Literal[tuple(DECAY_FORMS)] = "linear"
    """How wsd decays."""
    metric: str = "train_loss"
    """Metric at the end of training to minimise; all others are recorded beside it."""
    optimizer: Literal[tuple(OPTIMIZERS)] = "adam"
    """What the schedule drives; momentum is SGD with 0.9, the matrix methods have Adam's root mean square."""
    weight_decay: float = 0.0
    """Decoupled weight decay, scaled by the learning rate; sgd and adam have none."""
    batch_size: int = 64
    """Examples in a step."""
    num_steps: int = 100
    """The horizon: steps in a run."""
    learning_rates: tuple[float, ...] = (0.01, 0.014, 0.02, 0.028, 0.04, 0.056, 0.08, 0.112)
    """Base learning rates that every shape is tried with, ascending."""
    max_extensions: int = 4
    """Learning rates tried beyond either edge of the grid while the best lies on it."""
    strategy: Literal[tuple(STRATEGIES)] = "sobol"
    """How shapes are drawn: quasi-random (sobol) or random."""
    shapes: int = 64
    """Shapes drawn per family."""
    screen_replicates: int = 3
    """Seeds for each shape and learning rate in the screening."""
    top: int = 5
    """Shapes per family that get fresh seeds after the screening."""
    select_replicates: int = 25
    """Fresh seeds that choose a family's winner among its top shapes."""
    confirm_replicates: int = 100
    """Fresh seeds that score each winner; only these scores are reported."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""
    vectorize: int = 1
    """Runs a device computes side by side; it changes last bits, so it belongs to the study."""

    def __post_init__(self):
        problems = [*self._choice_problems(), *self._number_problems()]
        if problems:
            raise StudyError("\n".join(problems))

    def _choice_problems(self) -> list[str]:
        problems = [choice_problem("families", name, FAMILIES) for name in self.families]
        for name, allowed in (
            ("warmup_form", WARMUPS),
            ("decay_form", DECAY_FORMS),
            ("optimizer", OPTIMIZERS),
            ("strategy", STRATEGIES),
        ):
            problems.append(choice_problem(name, getattr(self, name), allowed))
        if len(set(self.families)) < len(self.families):
            problems.append(f"families: each may be named once, got {self.families}.")
        decaying = [name for name, optimizer in OPTIMIZERS.items() if optimizer.decays]
        if self.weight_decay and self.optimizer not in decaying:
            problems.append(f"weight_decay: only {', '.join(decaying)} decay, not {self.optimizer}.")
        return [problem for problem in problems if problem]

    def _number_problems(self) -> list[str]:
        problems = []
        for name in ("batch_size", "num_steps", "vectorize"):
            if getattr(self, name) < 1:
                problems.append(f"{name}: must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.weight_decay < float("inf"):
            problems.append(f"weight_decay: must not be negative, got {self.weight_decay}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        for build in (lambda: self.budget, lambda: self.grid):
            try:
                build()
            except ValueError as error:
                problems.append(f"{error}.")
        return problems

    @property
    def budget(self) -> Budget:
        return Budget(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Budget)})

    @property
    def grid(self) -> RateGrid:
        return RateGrid(tuple(self.learning_rates))

    @property
    def searched(self) -> tuple[Family, ...]:
        """The families with their options set, baselines included."""
        names = [*self.families, *(name for name in BASELINES if name not in self.families)]
        chosen = {"warmup_form": self.warmup_form, "decay_form": self.decay_form}
        return tuple(
            FAMILIES[name].with_options(
                **{option: form for option, form in chosen.items() if option in FAMILIES[name].options}
            )
            for name in names
        )

    @property
    def planned_runs(self) -> int:
        """Runs of the whole search, unless a grid is extended."""
        budget = self.budget
        per_family = (
            budget.shapes * len(self.grid) * budget.screen_replicates
            + min(budget.top, budget.shapes) * budget.select_replicates
            + budget.confirm_replicates
        )
        return len(self.searched) * per_family


QUICK = Config(
    families=("cosine", "constant", "sqrt", "rex", "two_point_spline", "smooth_nonmonotonic"),
    shapes=8,
    screen_replicates=1,
    top=2,
    select_replicates=10,
    confirm_replicates=40,
)
