"""What a shape search searches."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from experiments.study.options.checks import (
    EACH_ONCE,
    BelowOne,
    Check,
    Confidence,
    Count,
    CountOrNone,
    NotNegative,
    OneOf,
    Positive,
    RateRange,
    Seed,
)
from experiments.study.options.config import WorkloadConfig
from experiments.study.options.pairs import WorkloadOptions
from experiments.study.training.optimizers import BETAS, DECAY_MODES, OPTIMIZERS
from schedules import FAMILIES, Family, Interval
from schedules.search import STRATEGIES, Budget, CheckBudget, Race, Rung, SearchSpace
from schedules.shapes import DECAY_FORMS
from schedules.warmup import WARMUPS

BASELINES = ("cosine", "constant")  # searched in every study, as what the winner is compared with
PRECISIONS = ("float32", "bfloat16")
DRAWING = ("random", "sobol")  # strategies whose shapes are a sample of the family

Fraction = Annotated[float, Check("in (0, 1]", lambda value: 0 < value <= 1)]
Horizons = Annotated[
    tuple[float, ...],
    Check("in (0, 1], the last 1", lambda of: all(0 < h <= 1 for h in of) and of[-1:] == (1.0,)),
]


@dataclass(frozen=True)
class Config(WorkloadConfig):
    """What is searched; on one device or on several, it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train: digits, cifar10, fashion_mnist, mnist, shakespeare, wikitext103 or linear_regression."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    families: Annotated[tuple[str, ...], OneOf(FAMILIES), EACH_ONCE] = tuple(FAMILIES)
    """Families to search; cosine and constant are always added, to compare with."""
    warmup_form: Literal[tuple(WARMUPS)] = "linear"
    """How every family with a warm-up rises."""
    decay_form: Literal[tuple(DECAY_FORMS)] = "linear"
    """How wsd decays."""
    metric: str = "train_loss"
    """Metric to minimise: its final value, or with `best_` before its name the lowest of several evaluations;
    all others are recorded beside it."""
    evaluations: Count = 1
    """How often a run is evaluated, at equal distances and at its end."""
    optimizer: Literal[tuple(OPTIMIZERS)] = "adam"
    """What the schedule drives; momentum is SGD with 0.9, the matrix methods have Adam's root mean square."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay; sgd and adam have none."""
    decay_mode: Literal[DECAY_MODES] = "scaled"
    """Whether a step's decay is scaled by its learning rate or independent of it."""
    b1: BelowOne | None = None
    """Decay rate of Adam's first moment, the optimizer's own default when not given."""
    b2: BelowOne | None = None
    """Decay rate of Adam's second moment, likewise."""
    batch_size: Count = 64
    """Examples in a step."""
    microbatches: Count = 1
    """Equal pieces of a batch whose gradients are accumulated one after the other, to save memory."""
    clip_norm: Positive | None = None
    """Gradients of a larger norm, over all parameters, are scaled down to it; none when not given."""
    average_decay: BelowOne | None = None
    """Evaluate an exponential moving average of the weights with this decay; they themselves without."""
    precision: Literal[PRECISIONS] = "float32"
    """What losses and gradients are computed in; the weights are float32."""
    num_steps: Count = 100
    """The horizon: steps in a run."""
    learning_rates: RateRange = (0.002, 0.5)
    """Lowest and highest base learning rate, searched on a logarithmic scale together with the shape."""
    strategy: Literal[tuple(STRATEGIES)] = "trust_region"
    """How candidates are found."""
    candidates: Count = 64
    """Shapes with a learning rate that each family's search asks for."""
    batch: Count = 4
    """How many of them it asks for at a time."""
    rung_replicates: tuple[Count, ...] = (3,)
    """Seeds of a candidate on each rung of its race; the last rung is the full measurement."""
    rung_horizons: Horizons = (1.0,)
    """The length of the runs on each rung, as a fraction of the horizon; 1 on the last."""
    keep_fraction: Fraction = 0.5
    """The fraction of all candidates so far that goes on from a rung to the next."""
    top: Count = 5
    """Candidates per family that get fresh seeds after the screening."""
    select_replicates: Count = 25
    """Fresh seeds that choose a family's winner among its top candidates."""
    confirm_replicates: Count = 100
    """Fresh seeds that score each winner; only these scores are reported."""
    checked: CountOrNone = 3
    """How many of the best winners are checked for near-optimality: sweeps, local search, free from there."""
    local_replicates: Count = 10
    """Paired seeds of each point of a check's sweeps and local search."""
    check_replicates: Count = 60
    """Fresh seeds of each verdict."""
    confidence: Confidence = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: Seed = 0
    """Root of everything random."""
    vectorize: Count = 1
    """Runs a device computes side by side; it changes last bits, so it belongs to the study."""
    data_parallel: Count = 1
    """Devices that compute a run together, each a part of every batch; it changes last bits too."""

    def joint_problems(self) -> Iterator[str]:
        if self.sound("optimizer"):
            yield from self._optimizer_problems()
        if self.sound("rung_replicates", "rung_horizons", "num_steps", "keep_fraction"):
            yield from self._race_problems()
        if self.sound("num_steps", "local_replicates", "check_replicates", "confidence"):
            try:
                _ = self.check_budget
            except ValueError as error:
                yield f"confidence: {self.confidence} is out of reach: {error}."
        shared = self.microbatches * self.data_parallel
        if self.sound("batch_size", "microbatches", "data_parallel") and self.batch_size % shared:
            yield (
                f"batch_size: must be a multiple of microbatches × data_parallel = {shared},"
                f" got {self.batch_size}."
            )

    def unused(self) -> Iterator[tuple[str, str]]:
        for form in ("warmup_form", "decay_form"):
            if not any(form in family.options for family in self.searched):
                yield form, "no family that is searched has it"
        if not self.weight_decay:
            yield "decay_mode", "there is no weight_decay"
        if len(self.rung_replicates) == 1:
            yield "keep_fraction", "there is one rung, the last"
        if not self.checked:
            yield from ((name, "checked is 0") for name in ("local_replicates", "check_replicates"))

    def _race_problems(self) -> Iterator[str]:
        if len(self.rung_horizons) != len(self.rung_replicates):
            yield (
                f"rung_horizons: must be one for each of the {len(self.rung_replicates)} rung_replicates, got"
                f" {self.rung_horizons}."
            )
            return
        try:
            _ = self.race
        except ValueError as error:
            yield f"rung_replicates, rung_horizons: {error}."

    def _optimizer_problems(self) -> Iterator[str]:
        decaying = [name for name, optimizer in OPTIMIZERS.items() if optimizer.decays]
        if self.weight_decay and self.optimizer not in decaying:
            yield f"weight_decay: only {', '.join(decaying)} decay, not {self.optimizer}."
        for name in self.betas:
            if name not in OPTIMIZERS[self.optimizer].betas:
                yield f"{name}: {self.optimizer} has none, only Adam and Lion have."

    @property
    def race(self) -> Race:
        """How a candidate is measured in the screening."""
        rungs = tuple(
            Rung(replicates, max(1, round(fraction * self.num_steps)))
            for replicates, fraction in zip(self.rung_replicates, self.rung_horizons, strict=True)
        )
        return Race(rungs, self.keep_fraction)

    @property
    def budget(self) -> Budget:
        return Budget(
            candidates=self.candidates,
            batch=self.batch,
            race=self.race,
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
        return Interval(*self.learning_rates, log=True)

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
