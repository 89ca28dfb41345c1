"""What a shape search searches."""

from dataclasses import dataclass, field
from typing import Literal

from experiments.study.choices import StudyError, choice_problem
from experiments.study.optimizers import BETAS, DECAY_MODES, OPTIMIZERS
from experiments.study.options import WorkloadOptions
from schedules import FAMILIES, Family, Interval
from schedules.search import STRATEGIES, Budget, CheckBudget, Race, Rung, SearchSpace
from schedules.shapes import DECAY_FORMS
from schedules.warmup import WARMUPS

BASELINES = ("cosine", "constant")  # searched in every study, as what the winner is compared with
PRECISIONS = ("float32", "bfloat16")
POSITIVE = (
    "batch_size",
    "num_steps",
    "evaluations",
    "microbatches",
    "local_replicates",
    "vectorize",
    "data_parallel",
)
DRAWING = ("random", "sobol")  # strategies whose shapes are a sample of the family


@dataclass(frozen=True)
class Config:
    """What is searched; it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train: digits, cifar10, fashion_mnist, mnist, shakespeare, wikitext103 or linear_regression."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    families: tuple[str, ...] = tuple(FAMILIES)
    """Families to search; cosine and constant are always added, to compare with."""
    warmup_form: Literal[tuple(WARMUPS)] = "linear"
    """How every family with a warm-up rises."""
    decay_form: Literal[tuple(DECAY_FORMS)] = "linear"
    """How wsd decays."""
    metric: str = "train_loss"
    """Metric to minimise: its final value, or with `best_` before its name the lowest of several evaluations;
    all others are recorded beside it."""
    evaluations: int = 1
    """How often a run is evaluated, at equal distances and at its end."""
    optimizer: Literal[tuple(OPTIMIZERS)] = "adam"
    """What the schedule drives; momentum is SGD with 0.9, the matrix methods have Adam's root mean square."""
    weight_decay: float = 0.0
    """Decoupled weight decay; sgd and adam have none."""
    decay_mode: Literal[DECAY_MODES] = "scaled"
    """Whether a step's decay is scaled by its learning rate or independent of it."""
    b1: float | None = None
    """Decay rate of Adam's first moment, the optimizer's own default when not given."""
    b2: float | None = None
    """Decay rate of Adam's second moment, likewise."""
    batch_size: int = 64
    """Examples in a step."""
    microbatches: int = 1
    """Equal pieces of a batch whose gradients are accumulated one after the other, to save memory."""
    clip_norm: float | None = None
    """Gradients of a larger norm, over all parameters, are scaled down to it; none when not given."""
    average_decay: float | None = None
    """Evaluate an exponential moving average of the weights with this decay; they themselves without."""
    precision: Literal[PRECISIONS] = "float32"
    """What losses and gradients are computed in; the weights are float32."""
    num_steps: int = 100
    """The horizon: steps in a run."""
    learning_rates: tuple[float, float] = (0.002, 0.5)
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    strategy: Literal[tuple(STRATEGIES)] = "trust_region"
    """How candidates are found."""
    candidates: int = 64
    """Shapes with a learning rate that each family's search asks for."""
    batch: int = 4
    """How many of them it asks for at a time."""
    rung_replicates: tuple[int, ...] = (3,)
    """Seeds of a candidate on each rung of its race; the last rung is the full measurement."""
    rung_horizons: tuple[float, ...] = (1.0,)
    """The length of the runs on each rung, as a fraction of the horizon; 1 on the last."""
    keep_fraction: float = 0.5
    """The fraction of all candidates so far that goes on from a rung to the next."""
    top: int = 5
    """Candidates per family that get fresh seeds after the screening."""
    select_replicates: int = 25
    """Fresh seeds that choose a family's winner among its top candidates."""
    confirm_replicates: int = 100
    """Fresh seeds that score each winner; only these scores are reported."""
    checked: int = 3
    """How many of the best winners are checked for near-optimality: sweeps, local search, free from there."""
    local_replicates: int = 10
    """Paired seeds of each point of a check's sweeps and local search."""
    check_replicates: int = 60
    """Fresh seeds of each verdict."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""
    checkpoint_steps: int = 0
    """Runs of more steps are saved on the way, at multiples of these: when a minute has gone since, and when
    SIGTERM comes; none when 0. It may change last bits, so it belongs to the study."""
    vectorize: int = 1
    """Runs a device computes side by side; it changes last bits, so it belongs to the study."""
    data_parallel: int = 1
    """Devices that compute a run together, each a part of every batch; it changes last bits too."""

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
            ("decay_mode", DECAY_MODES),
            ("precision", PRECISIONS),
        ):
            problems.append(choice_problem(name, getattr(self, name), allowed))
        if len(set(self.families)) < len(self.families):
            problems.append(f"families: each may be named once, got {self.families}.")
        decaying = [name for name, optimizer in OPTIMIZERS.items() if optimizer.decays]
        if self.weight_decay and self.optimizer not in decaying:
            problems.append(f"weight_decay: only {', '.join(decaying)} decay, not {self.optimizer}.")
        for name, value in self.betas.items():
            if self.optimizer in OPTIMIZERS and name not in OPTIMIZERS[self.optimizer].betas:
                problems.append(f"{name}: {self.optimizer} has none, only Adam and Lion have.")
            if not 0 <= value < 1:
                problems.append(f"{name}: must be in [0, 1), got {value}.")
        return [problem for problem in problems if problem]

    def _number_problems(self) -> list[str]:
        problems = []
        for name in POSITIVE:
            if getattr(self, name) < 1:
                problems.append(f"{name}: must be at least 1, got {getattr(self, name)}.")
        if not problems and self.batch_size % (self.microbatches * self.data_parallel):
            problems.append(
                f"batch_size: must be a multiple of microbatches × data_parallel ="
                f" {self.microbatches * self.data_parallel}, got {self.batch_size}."
            )
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            problems.append(f"clip_norm: must be positive, got {self.clip_norm}.")
        if self.average_decay is not None and not 0 <= self.average_decay < 1:
            problems.append(f"average_decay: must be in [0, 1), got {self.average_decay}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.weight_decay < float("inf"):
            problems.append(f"weight_decay: must not be negative, got {self.weight_decay}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        if len(self.rung_horizons) != len(self.rung_replicates):
            problems.append(
                f"rung_horizons: must be one for each of the {len(self.rung_replicates)} rung_replicates, got"
                f" {self.rung_horizons}."
            )
        elif not all(0 < h <= 1 for h in self.rung_horizons) or self.rung_horizons[-1:] != (1.0,):
            problems.append(f"rung_horizons: must be in (0, 1], the last 1, got {self.rung_horizons}.")
        for name in ("checked", "checkpoint_steps"):
            if getattr(self, name) < 0:
                problems.append(f"{name}: must not be negative, got {getattr(self, name)}.")
        for build in (lambda: self.budget, lambda: self.learning_rate_range, lambda: self.check_budget):
            try:
                build()
            except ValueError as error:
                problems.append(f"{error}.")
        return problems

    @property
    def budget(self) -> Budget:
        rungs = tuple(
            Rung(replicates, max(1, round(fraction * self.num_steps)))
            for replicates, fraction in zip(self.rung_replicates, self.rung_horizons, strict=False)
        )
        return Budget(
            candidates=self.candidates,
            batch=self.batch,
            race=Race(rungs, self.keep_fraction),
            top=self.top,
            select_replicates=self.select_replicates,
            confirm_replicates=self.confirm_replicates,
        )

    @property
    def check_budget(self) -> CheckBudget:
        """What is spent on the verdict on a winner."""
        return CheckBudget(
            self.num_steps,
            replicates=self.local_replicates,
            check_replicates=self.check_replicates,
            confidence=self.confidence,
        )

    @property
    def learning_rate_range(self) -> Interval:
        rates = self.learning_rates
        if len(rates) != 2 or not 0 < rates[0] < rates[1] < float("inf"):
            raise ValueError(f"learning_rates: must be two, positive, finite and ascending, got {rates}")
        return Interval(*rates, log=True)

    @property
    def betas(self) -> dict[str, float]:
        """Those that are given."""
        return {name: getattr(self, name) for name in BETAS if getattr(self, name) is not None}

    @property
    def spaces(self) -> tuple[SearchSpace, ...]:
        """What is searched, a space a family."""
        return tuple(SearchSpace(family, self.learning_rate_range) for family in self.searched)

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
        """Runs of the search where every candidate reaches the last rung; those of the checks come on top."""
        budget = self.budget
        screening = {rung.num_steps: rung.replicates for rung in budget.race.rungs}  # of a horizon, the last
        fresh = min(budget.top, budget.candidates) * budget.select_replicates + budget.confirm_replicates
        return len(self.searched) * (budget.candidates * sum(screening.values()) + fresh)


QUICK_CHANGES = {
    "families": ("cosine", "constant", "sqrt", "rex", "two_point_spline", "smooth_nonmonotonic"),
    "candidates": 24,
    "rung_replicates": (1,),
    "rung_horizons": (1.0,),
    "checked": 1,
    "local_replicates": 3,
    "top": 2,
    "select_replicates": 10,
    "confirm_replicates": 40,
}
