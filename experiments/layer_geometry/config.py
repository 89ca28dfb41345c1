"""What a study of layer geometry measures and compares."""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from jaxtyping import Array, Float

from experiments.study.options.checks import BelowOne, Confidence, Count, NotNegative, Positive, Seed, Several
from experiments.study.options.config import WorkloadConfig, batch_problems
from experiments.study.options.pairs import WorkloadOptions
from experiments.study.training.tuning import Budget, Decays, FirstRates, MoreRates
from schedules import FAMILIES
from workloads import Workload

LEAST_PROBES = 4  # the halves of a run are compared
BY_INDEX, SPECTRAL_ONLY, SIGN_ONLY = "by the index", "spectral only", "sign only"
WAYS = (BY_INDEX, SPECTRAL_ONLY, SIGN_ONLY)  # to choose each layer's geometry


@dataclass(frozen=True)
class Config(WorkloadConfig):
    """What is measured; on one device or on several, it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train: digits or shakespeare."""
    workload_options: WorkloadOptions = field(default_factory=lambda: {"model": "cnn"})
    """Options of the workload, as NAME VALUE pairs."""
    metric: str = "train_loss"
    """Metric at the end of training by which the choice of geometry is judged."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of every run's learning rate."""
    warmup: BelowOne = 0.1
    """Fraction of the run in which the learning rate rises."""
    batch_size: Count = 64
    """Examples in a step."""
    parts: Several = 8
    """Equal parts of each batch, whose gradients tell the noise."""
    num_steps: Count = 100
    """Steps in a run."""
    learning_rate: Positive = 0.04
    """Peak learning rate of muon in the measured runs."""
    decay: BelowOne = 1e-3
    """Fraction of a weight that a step of theirs at the peak rate removes."""
    probe_every: Count = 10
    """Steps from one measurement to the next."""
    curvature_batches: Count = 12
    """Batches whose mean gradient and Hessian the curvature is measured with."""
    replicates: Several = 8
    """Seeds of the measured runs."""
    tau: NotNegative = 1.0
    """How many deviations of the noise the index takes off the signal: 1 in expectation, 2 for certain."""
    index_every: Count = 10
    """Steps from one look at the index to the next, where it chooses the geometry."""
    central_rate: Positive = 0.04
    """The middle of the learning rates first tried with each way to choose."""
    first_rates: FirstRates = 5
    """Learning rates that each is first tried with, each twice the one before."""
    more_rates: MoreRates = 4
    """Further ones, each placed by the scores so far."""
    decays: Decays = (0.0, 1e-3)
    """Fractions of a weight that a step at the peak learning rate removes, tried at every rate."""
    screen_replicates: Count = 3
    """Seeds for each learning rate and decay."""
    confirm_replicates: Count = 30
    """Fresh seeds that score each at its best; only these scores are reported."""
    confidence: Confidence = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: Seed = 0
    """Root of everything random."""

    def joint_problems(self) -> Iterator[str]:
        if self.sound("num_steps", "probe_every") and len(self.probed_steps) < LEAST_PROBES:
            yield (
                f"probe_every: must leave at least {LEAST_PROBES} probed steps of num_steps={self.num_steps},"
                f" got {self.probe_every}."
            )
        if self.sound("batch_size", "parts") and self.batch_size % self.parts:
            yield f"parts: must divide batch_size={self.batch_size}, got {self.parts}."

    def workload_problems(self, workload: Workload) -> Iterator[str]:
        yield from super().workload_problems(workload)
        if self.sound("batch_size", "curvature_batches"):
            together = self.batch_size * self.curvature_batches
            yield from batch_problems("batch_size × curvature_batches", together, workload)

    @property
    def planned_runs(self) -> int:
        return self.replicates + len(WAYS) * (self.budget.runs + self.confirm_replicates)

    @property
    def multipliers(self) -> Float[Array, "steps"]:
        """The learning rate of every step, as a fraction of the peak."""
        return FAMILIES[self.schedule].multipliers({"warmup": self.warmup}, self.num_steps)

    @property
    def probed_steps(self) -> range:
        return range(0, self.num_steps, self.probe_every)

    @property
    def looked_at_steps(self) -> range:
        """Where the geometry in use is recorded, after the index may have changed it."""
        return range(0, self.num_steps, self.index_every)

    @property
    def budget(self) -> Budget:
        """What is spent on each way to choose, equal for all."""
        return Budget(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Budget)})


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 2, "heads": 2, "context": 32},
            metric="test_loss",
            batch_size=16,
            num_steps=300,
            probe_every=30,
            replicates=4,
            index_every=20,
            more_rates=3,
            decays=(0.0,),
            screen_replicates=2,
            confirm_replicates=16,
        ),
    }
)
