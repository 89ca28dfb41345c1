"""What a study of adaptive batch sizes compares: optimizers, each with a strategy for its batch."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from jaxtyping import Array, Float

import optim
from experiments.study.options.checks import (
    EACH_ONCE,
    MOST,
    BelowOne,
    Between,
    Count,
    OneOf,
    Several,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import MOST_EXAMPLES
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.tuning import Budget, Decays, MoreRates
from geometry import EUCLIDEAN, Geometry
from schedules import FAMILIES

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates tried at the small batch
    {"sign_descent": 0.005, "signum": 0.005, "adamw": 0.02, "spectral_descent": 0.08, "muon": 0.02}
)

# how the batch is chosen
SMALL, LARGE = "small", "large"  # constant
EUCLIDEAN_DRIVEN, MATCHED = "Euclidean", "matched"  # growing with a noise scale
ADAPTIVE = (EUCLIDEAN_DRIVEN, MATCHED)
STRATEGIES = (SMALL, LARGE, *ADAPTIVE)


@dataclass(frozen=True)
class Config(Budget, WorkloadConfig):
    """What is compared."""

    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), entries(1), EACH_ONCE] = tuple(CENTRES)
    """What to train with: sign_descent, signum, adamw, spectral_descent, muon."""
    metric: str = "test_loss"
    """Metric to minimise, at the end and in the fewest updates; all others are recorded beside it."""
    small_batch: Several = 8
    """Examples in a batch of the small constant strategy, and in the first ones of those that grow; these
    accumulate micro-batches of as many."""
    large_batch: Several = 128
    """Examples in a batch of the large constant strategy, and at most in those that grow; a multiple of the
    small batch."""
    parts: Several = 4
    """Equal parts of each micro-batch, from whose gradients the noise is told; divides the small batch."""
    samples: Annotated[int, at_least(1), at_most(MOST_EXAMPLES)] = 6400
    """Examples that every run sees; a multiple of the large batch."""
    schedule: Literal["linear", "cosine"] = "linear"
    """Shape of every run's learning rate, over the examples seen."""
    warmup: BelowOne = 0.15
    """Fraction of the examples during which the learning rate rises and no batch grows."""
    measure_every: Count = 5
    """Updates from one measurement of the noise to the next."""
    euclidean_theta: Between = 0.3
    """What the noise may be beside the signal, θ between 0 and 1, where the Euclidean noise scale drives the
    batch: the smaller, the larger the batch. The default is the paper's."""
    matched_theta: Between = 0.6
    """The same for the noise scale of the optimizer's own geometry."""
    noise_decay: BelowOne = 0.9
    """Decay of the running averages of noise and signal at a measurement, in [0, 1)."""
    coupling: Literal["sqrt", "linear", "none"] = "sqrt"
    """How the learning rate grows with the batch."""
    more_rates: MoreRates = 3
    screen_replicates: Count = 8
    confirm_replicates: Count = 40
    decays: Decays = (0.0,)
    curve_points: Count = 25
    """Evaluations along each run after the first one; divides samples / large_batch."""
    timing_repeats: Count = 9
    """Runs of each that are timed, all in turn."""

    batch_fields = ("large_batch",)

    def joint_problems(self) -> Iterator[str]:
        small, large, parts = self.small_batch, self.large_batch, self.parts
        if self.sound("small_batch", "parts") and small % parts:
            yield f"parts: must divide small_batch={small}, got {parts}."
        if self.sound("small_batch", "large_batch") and (large <= small or large % small):
            yield f"large_batch: must be a multiple of small_batch={small}, got {large}."
        if self.sound("small_batch", "samples") and self.num_microbatches > MOST:
            yield f"samples: must fit in {MOST} batches of small_batch={small}, got {self.samples}."
        if not self.sound("large_batch", "samples"):
            return
        if self.samples % large:
            yield f"samples: must be a multiple of large_batch={large}, got {self.samples}."
        elif self.sound("curve_points") and (self.samples // large) % self.curve_points:
            yield (
                f"curve_points: must divide samples / large_batch = {self.samples // large},"
                f" got {self.curve_points}."
            )

    @property
    def planned_runs(self) -> int:
        return len(self.optimizers) * len(STRATEGIES) * (self.tuning_runs + self.confirm_replicates)

    @property
    def run_examples(self) -> int:
        return self.samples

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


class Contestant(NamedTuple):
    """An optimizer with a strategy for its batch; what is tuned and scored."""

    optimizer: str
    strategy: str

    def __str__(self) -> str:
        return f"{self.optimizer}, {self.strategy}"

    @property
    def geometry(self) -> Geometry:
        """Whose noise scale drives the batch, where it is not constant."""
        return OPTIMIZERS[self.optimizer].geometry if self.strategy == MATCHED else EUCLIDEAN

    @property
    def grows(self) -> bool:
        """Whether the batch is driven by a noise scale."""
        return self.strategy in ADAPTIVE

    def batch_size(self, config: Config) -> int:
        """The constant one, or the first."""
        return config.large_batch if self.strategy == LARGE else config.small_batch

    def num_steps(self, config: Config) -> int:
        """How many batches a run sees; where they grow, micro-batches."""
        return config.samples // self.batch_size(config)

    def centre(self, config: Config) -> float:
        """The middle of the learning rates tried first: in proportion to the root of the batch."""
        return CENTRES[self.optimizer] * math.sqrt(self.batch_size(config) / config.small_batch)

    def controller(self, config: Config) -> optim.BatchController:
        """What drives the batch, where it is not constant."""
        return optim.BatchController(
            self.geometry,
            config.small_batch,
            config.large_batch,
            quantum=config.small_batch,
            theta=config.matched_theta if self.strategy == MATCHED else config.euclidean_theta,
            every=config.measure_every,
            warmup_samples=round(config.warmup * config.samples),
            noise_decay=config.noise_decay,
            signal_decay=config.noise_decay,
            coupling=config.coupling,
        )


def contestants(config: Config) -> list[Contestant]:
    """Every optimizer with every strategy."""
    return [Contestant(optimizer, strategy) for optimizer in config.optimizers for strategy in STRATEGIES]
