"""What a study of layer geometry measures and compares."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from jaxtyping import Array, Float

from experiments.study.choices import StudyError, choice_problem
from experiments.study.options import WorkloadOptions
from experiments.study.tuning import Budget
from schedules import FAMILIES

LEAST_PROBES = 4  # the halves of a run are compared


@dataclass(frozen=True)
class Config:
    """What is measured; it alone decides the results, bit for bit."""

    workload: str = "digits"
    """What to train: digits or shakespeare."""
    workload_options: WorkloadOptions = field(default_factory=lambda: {"model": "cnn"})
    """Options of the workload, as NAME VALUE pairs."""
    metric: str = "train_loss"
    """Metric at the end of training by which the choice of geometry is judged."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of every run's learning rate."""
    warmup: float = 0.1
    """Fraction of the run in which the learning rate rises."""
    batch_size: int = 64
    """Examples in a step."""
    parts: int = 8
    """Equal parts of each batch, whose gradients tell the noise."""
    num_steps: int = 100
    """Steps in a run."""
    learning_rate: float = 0.04
    """Peak learning rate of muon in the measured runs."""
    decay: float = 1e-3
    """Fraction of a weight that a step of theirs at the peak rate removes."""
    probe_every: int = 10
    """Steps from one measurement to the next."""
    curvature_batches: int = 12
    """Batches whose mean gradient and Hessian the curvature is measured with."""
    replicates: int = 8
    """Seeds of the measured runs."""
    tau: float = 1.0
    """How many deviations of the noise the index takes off the signal: 1 in expectation, 2 for certain."""
    index_every: int = 10
    """Steps from one look at the index to the next, where it chooses the geometry."""
    central_rate: float = 0.04
    """The middle of the learning rates first tried with each way to choose."""
    first_rates: int = 5
    """Learning rates that each is first tried with, each twice the one before."""
    more_rates: int = 4
    """Further ones, each placed by the scores so far."""
    decays: tuple[float, ...] = (0.0, 1e-3)
    """Fractions of a weight that a step at the peak learning rate removes, tried at every rate."""
    screen_replicates: int = 3
    """Seeds for each learning rate and decay."""
    confirm_replicates: int = 30
    """Fresh seeds that score each at its best; only these scores are reported."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [
            choice_problem("schedule", self.schedule, ("linear", "cosine", "constant")),
            *self._number_problems(),
        ]
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _number_problems(self) -> list[str]:
        least = {"num_steps": 1, "probe_every": 1, "curvature_batches": 1, "replicates": 2, "index_every": 1}
        problems = [
            f"{name}: must be at least {low}, got {getattr(self, name)}."
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if not problems and len(self.probed_steps) < LEAST_PROBES:
            problems.append(
                f"probe_every: must leave at least {LEAST_PROBES} probed steps of num_steps={self.num_steps},"
                f" got {self.probe_every}."
            )
        if self.parts < 2 or self.batch_size % self.parts:
            problems.append(
                f"parts: must divide batch_size={self.batch_size} and be at least 2, got {self.parts}."
            )
        for name in ("learning_rate", "central_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                problems.append(f"{name}: must be positive, got {getattr(self, name)}.")
        for name, high in (("warmup", 1), ("decay", 1), ("tau", float("inf"))):
            if not 0 <= getattr(self, name) < high:
                problems.append(f"{name}: must be in [0, {high}), got {getattr(self, name)}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        try:
            _ = self.budget
        except StudyError as error:
            problems.append(str(error))
        return problems

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
