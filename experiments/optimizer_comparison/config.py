"""What an optimizer comparison compares."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal

from jaxtyping import Array, Float

from experiments.study.checks import EACH_ONCE, BelowOne, Confidence, Count, OneOf, Seed
from experiments.study.config import WorkloadConfig
from experiments.study.options import WorkloadOptions
from experiments.study.tuning import Budget, Decays, FirstRates, MoreRates
from schedules import FAMILIES

REFERENCE_OPTIMIZER = "adamw"  # in every comparison, as what the others are compared with
CONTENDERS: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates tried with each
    {
        "momentum": 0.2,
        "adamw": 0.02,
        "lion": 0.005,
        "optax_muon": 0.04,
        "sign_descent": 0.02,
        "signum": 0.01,
        "spectral_descent": 0.08,
        "muon": 0.04,
        "dion": 0.04,
        "orth_dion": 0.04,
    }
)


@dataclass(frozen=True)
class Config(WorkloadConfig):
    """What is compared; on one device or on several, it alone decides the scores, bit for bit."""

    workload: str = "digits"
    """What to train: digits, shakespeare or linear_regression."""
    workload_options: WorkloadOptions = field(default_factory=lambda: {"model": "cnn"})
    """Options of the workload, as NAME VALUE pairs."""
    optimizers: Annotated[tuple[str, ...], OneOf(CONTENDERS), EACH_ONCE] = tuple(CONTENDERS)
    """What to compare; adamw is always added, to compare with."""
    metric: str = "train_loss"
    """Metric at the end of training to minimise; all others are recorded beside it."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of every run's learning rate."""
    warmup: BelowOne = 0.1
    """Fraction of the run in which the learning rate rises."""
    batch_size: Count = 64
    """Examples in a step."""
    num_steps: Count = 100
    """Steps in a run."""
    first_rates: FirstRates = 5
    """Learning rates that each optimizer is first tried with, each twice the one before."""
    more_rates: MoreRates = 4
    """Further ones, each placed by the scores so far: beyond an edge, or halfway beside the best."""
    decays: Decays = (0.0, 1e-4, 1e-3)
    """Fractions of a weight that a step at the peak learning rate removes, tried at every rate."""
    screen_replicates: Count = 3
    """Seeds for each learning rate and decay."""
    confirm_replicates: Count = 30
    """Fresh seeds that score each optimizer at its best; only these scores are reported."""
    curve_points: Count = 10
    """Evaluations along each confirming run."""
    confidence: Confidence = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: Seed = 0
    """Root of everything random."""

    def joint_problems(self) -> Iterator[str]:
        if self.sound("num_steps", "curve_points") and self.curve_points > self.num_steps:
            yield f"curve_points: must be at most num_steps={self.num_steps}, got {self.curve_points}."

    @property
    def compared(self) -> tuple[str, ...]:
        """The optimizers, the reference included."""
        extra = () if REFERENCE_OPTIMIZER in self.optimizers else (REFERENCE_OPTIMIZER,)
        return (*self.optimizers, *extra)

    @property
    def multipliers(self) -> Float[Array, "steps"]:
        """The learning rate of every step, as a fraction of the peak."""
        return FAMILIES[self.schedule].multipliers({"warmup": self.warmup}, self.num_steps)

    @property
    def curve_steps(self) -> tuple[int, ...]:
        """After how many updates the confirming runs are evaluated."""
        return tuple(round(self.num_steps * (k + 1) / self.curve_points) for k in range(self.curve_points))

    @property
    def budget(self) -> Budget:
        """What is spent on each optimizer, equal for all."""
        return Budget(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Budget)})

    @property
    def planned_runs(self) -> int:
        return len(self.compared) * (self.budget.runs + self.confirm_replicates)


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 2, "heads": 2, "context": 32},
            metric="test_loss",
            batch_size=16,
            num_steps=300,
            more_rates=3,
            decays=(0.0, 1e-3),
            screen_replicates=2,
            confirm_replicates=16,
        ),
    }
)
