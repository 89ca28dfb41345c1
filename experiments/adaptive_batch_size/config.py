"""What a study of adaptive batch sizes compares."""

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

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates tried at the small batch
    {"sign_descent": 0.005, "signum": 0.005, "adamw": 0.02, "spectral_descent": 0.08, "muon": 0.02}
)


@dataclass(frozen=True)
class Config:
    """What is compared; it alone decides the scores, bit for bit."""

    workload: str = "digits"
    """What to train."""
    workload_options: WorkloadOptions = field(default_factory=dict)
    """Options of the workload, as NAME VALUE pairs, such as: model cnn."""
    optimizers: tuple[str, ...] = tuple(CENTRES)
    """What to train with: sign_descent, signum, adamw, spectral_descent, muon."""
    metric: str = "test_loss"
    """Metric to minimise, at the end and in the fewest updates; all others are recorded beside it."""
    small_batch: int = 8
    """Examples in a batch of the small constant strategy, and in the first ones of those that grow; these
    accumulate micro-batches of as many."""
    large_batch: int = 128
    """Examples in a batch of the large constant strategy, and at most in those that grow; a multiple of the
    small batch."""
    parts: int = 4
    """Equal parts of each micro-batch, from whose gradients the noise is told; divides the small batch."""
    samples: int = 6400
    """Examples that every run sees; a multiple of the large batch."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Shape of every run's learning rate, over the examples seen."""
    warmup: float = 0.15
    """Fraction of the examples during which the learning rate rises and no batch grows."""
    measure_every: int = 5
    """Updates from one measurement of the noise to the next."""
    euclidean_theta: float = 0.3
    """What the noise may be beside the signal, θ between 0 and 1, where the Euclidean noise scale drives the
    batch: the smaller, the larger the batch. The default is the paper's."""
    matched_theta: float = 0.6
    """The same for the noise scale of the optimizer's own geometry."""
    noise_decay: float = 0.9
    """Decay of the running averages of noise and signal at a measurement, in [0, 1)."""
    coupling: Literal["sqrt", "linear", "none"] = "sqrt"
    """How the learning rate grows with the batch."""
    first_rates: int = 5
    """Learning rates that each optimizer and strategy is first tried with, each twice the one before."""
    more_rates: int = 3
    """Further ones, each placed by the scores so far: beyond an edge, or halfway beside the best."""
    decays: tuple[float, ...] = (0.0,)
    """Fractions of a weight that a step at the peak learning rate removes, tried at every rate."""
    screen_replicates: int = 8
    """Seeds for each learning rate and decay."""
    confirm_replicates: int = 40
    """Fresh seeds that score each at its best; only these are reported."""
    curve_points: int = 25
    """Evaluations along each run after the first one; divides samples / large_batch."""
    timing_repeats: int = 9
    """Runs of each that are timed, all in turn."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [choice_problem("optimizers", name, CENTRES) for name in self.optimizers]
        problems.append(choice_problem("schedule", self.schedule, ("linear", "cosine")))
        problems.append(choice_problem("coupling", self.coupling, ("sqrt", "linear", "none")))
        problems += [*self._batch_problems(), *self._number_problems()]
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _batch_problems(self) -> list[str]:
        small, large, parts = self.small_batch, self.large_batch, self.parts
        if small < 2:
            return [f"small_batch: must be at least 2, got {small}."]
        problems = []
        if parts < 2 or small % parts:
            problems.append(f"parts: must be at least 2 and divide small_batch={small}, got {parts}.")
        if large <= small or large % small:
            problems.append(f"large_batch: must be a multiple of small_batch={small}, got {large}.")
        elif self.samples < large or self.samples % large:
            problems.append(f"samples: must be a multiple of large_batch={large}, got {self.samples}.")
        elif self.curve_points < 1 or (self.samples // large) % self.curve_points:
            problems.append(
                f"curve_points: must divide samples / large_batch = {self.samples // large},"
                f" got {self.curve_points}."
            )
        return problems

    def _number_problems(self) -> list[str]:
        problems = []
        try:
            _ = self.budget
        except StudyError as error:
            problems.append(str(error))
        if not self.optimizers or len(set(self.optimizers)) < len(self.optimizers):
            problems.append(f"optimizers: needs at least one, each named once, got {self.optimizers}.")
        for name in ("measure_every", "timing_repeats"):
            if getattr(self, name) < 1:
                problems.append(f"{name}: must be at least 1, got {getattr(self, name)}.")
        for name in ("euclidean_theta", "matched_theta"):
            if not 0 < getattr(self, name) < 1:
                problems.append(f"{name}: must be between 0 and 1, got {getattr(self, name)}.")
        for name in ("warmup", "noise_decay"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name}: must be in [0, 1), got {getattr(self, name)}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        return problems

    @property
    def num_microbatches(self) -> int:
        """Micro-batches in a run, of as many examples as the small batch."""
        return self.samples // self.small_batch

    @property
    def multipliers(self) -> Float[Array, "microbatches"]:
        """The learning rate at every micro-batch, as a fraction of the peak."""
        return FAMILIES[self.schedule].multipliers({"warmup": self.warmup}, self.num_microbatches)

    @property
    def curve_samples(self) -> tuple[int, ...]:
        """After how many examples every run is evaluated: before the first, and last at the end."""
        distance = self.samples // self.curve_points
        return tuple(distance * k for k in range(self.curve_points + 1))

    @property
    def budget(self) -> Budget:
        """What is spent on each optimizer and strategy, equal for all."""
        return Budget(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Budget)})


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 2, "heads": 2, "context": 32},
            samples=3840,
            more_rates=2,
            screen_replicates=2,
            confirm_replicates=12,
            curve_points=15,
            timing_repeats=3,
        ),
    }
)
