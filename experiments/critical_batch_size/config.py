"""What a study of critical batch sizes measures: optimizers, each with a momentum and a weight decay."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    MOST,
    BelowOne,
    Check,
    Count,
    Number,
    OneOf,
    Positive,
    Several,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import MOST_EXAMPLES
from experiments.study.options.groups import Trained
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.tuning import MoreRates, RateBudget
from geometry import Geometry, momentum_noise_factor
from schedules.search.scoring import expanded_confidence

CENTRE_BATCH = 64
CENTRES: Mapping[str, float] = MappingProxyType(  # of the learning rates tried there at the usual momentum
    {"momentum": 0.2, "adamw": 0.03, "signum": 0.01, "muon": 0.04, "dion": 0.04, "orth_dion": 0.04}
)
NESTEROV = frozenset({"muon"})  # whose V is that of Nesterov's average


class Variant(NamedTuple):
    """An optimizer with its momentum β and weight decay λ, of which a step at the rate η removes ηλ."""

    optimizer: str
    momentum: float
    weight_decay: float = 0.0

    @classmethod
    def usual(cls, optimizer: str) -> "Variant":
        return cls(optimizer, OPTIMIZERS[optimizer].usual_momentum)

    @property
    def name(self) -> str:
        """The optimizer, and what is not usual about it.

        >>> Variant("muon", 0.5).name, Variant("adamw", 0.9, 0.1).name, Variant.usual("muon").name
        ('muon β=0.5', 'adamw λ=0.1', 'muon')
        """
        words = [self.optimizer]
        if self.momentum != OPTIMIZERS[self.optimizer].usual_momentum:
            words.append(f"β={self.momentum:g}")
        if self.weight_decay:
            words.append(f"λ={self.weight_decay:g}")
        return " ".join(words)

    @property
    def geometry(self) -> Geometry:
        return OPTIMIZERS[self.optimizer].geometry

    @property
    def noise_factor(self) -> float:
        """V(β), to which the critical batch is in proportion by theory; see `momentum_noise_factor`."""
        return float(momentum_noise_factor(self.momentum, nesterov=self.optimizer in NESTEROV))

    def centre(self, batch_size: int) -> float:
        """The middle of the learning rates tried first, which grows as the root of the batch size."""
        rate = CENTRES[self.optimizer] * math.sqrt(batch_size / CENTRE_BATCH)
        if self.optimizer == "momentum":  # heavy ball adds gradients up, where all others average them
            rate *= (1 - self.momentum) / (1 - OPTIMIZERS["momentum"].usual_momentum)
        return rate


class Contestant(NamedTuple):
    """A variant at a batch size."""

    variant: Variant
    batch_size: int

    @property
    def name(self) -> str:
        return f"{self.variant.name} @ {self.batch_size}"

    @property
    def numbers(self) -> dict[str, float]:
        _, momentum, weight_decay = self.variant
        return {"batch_size": self.batch_size, "momentum": momentum, "weight_decay": weight_decay}


LEAST_BATCHES = 3  # a law has two constants

BatchSizes = Annotated[tuple[Count, ...], entries(LEAST_BATCHES), ASCENDING]
Optimizers = Annotated[tuple[str, ...], OneOf(CENTRES), entries(1), EACH_ONCE]


@dataclass(frozen=True)
class Config(Trained, RateBudget, WorkloadConfig):
    """What is measured."""

    metric: str = "train_loss"
    """Metric that is to come down to the target."""
    target: Number = 0.02
    """The target; a run is over when the metric is first at or below it."""
    optimizers: Optimizers = ("momentum", "adamw", "signum", "muon", "orth_dion")
    """What is compared, each at its usual momentum and without weight decay."""
    momenta: Annotated[tuple[BelowOne, ...], EACH_ONCE] = (0.0, 0.7, 0.97)
    """Further momenta that some optimizers are measured with."""
    momentum_optimizers: Annotated[tuple[str, ...], EACH_ONCE] = ("momentum", "signum", "muon")
    """Those optimizers."""
    decays: Annotated[tuple[Positive, ...], EACH_ONCE] = (0.1,)
    """Weight decays λ that some optimizers are measured with; a step at the rate η removes ηλ of a weight."""
    decay_optimizers: Annotated[tuple[str, ...], EACH_ONCE] = ("adamw", "muon")
    """Those optimizers."""
    batch_sizes: BatchSizes = (8, 16, 32, 64, 128, 256, 512)
    """Batch sizes, ascending."""
    least_steps: Count = 250
    """A run has this many steps, and as many more as `max_samples` examples make; its learning rate is
    constant, so that in a longer run the target would be reached no sooner."""
    max_samples: Annotated[int, at_least(0), at_most(MOST_EXAMPLES)] = 30_000
    """See `least_steps`."""
    evaluation_ratio: Annotated[float, Check("above 1", lambda value: value > 1), at_most(1000)] = 1.15
    """From one evaluation to the next, a run's steps grow by this factor, or by one."""
    more_rates: MoreRates = 3
    confirm_replicates: Several = 12
    noise_points: Count = 64
    """How many times a confirming run is probed for its noise scales, at equal distances."""
    noise_batch: Count = 1024
    """Fresh examples that a probe measures the gradient noise with."""
    noise_parts: Several = 16
    """Equal parts that these are split in."""

    batch_fields = ("batch_sizes", "noise_batch")

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        for field in ("momentum_optimizers", "decay_optimizers"):
            if self.sound("optimizers", field):
                yield from OneOf(self.optimizers).problems(field, getattr(self, field))
        shares, size = self.noise_parts * self.data_parallel, self.noise_batch
        if self.sound("noise_batch", "noise_parts", "data_parallel") and size % shares:
            yield f"noise_batch: must be a multiple of noise_parts × data_parallel = {shares}, got {size}."
        if self.sound("least_steps", "max_samples", "batch_sizes") and self.longest_run > MOST:
            yield f"max_samples: must make runs of at most {MOST} steps, got {self.max_samples}."

    def loaded_problems(self) -> Iterator[str]:
        if self.sound("target") and self.target < 0:
            yield f"target: no metric of {self.workload} is negative, got {self.target}."

    def unused(self) -> Iterator[tuple[str, str]]:
        for values, optimizers in (("momenta", "momentum_optimizers"), ("decays", "decay_optimizers")):
            for name, other in ((values, optimizers), (optimizers, values)):
                if not getattr(self, other):
                    yield name, f"{other} is empty"

    @property
    def variants(self) -> tuple[Variant, ...]:
        """Everything that is measured: each optimizer as usual, then with other momenta, then with decay."""
        usual = [Variant.usual(name) for name in self.optimizers]
        by_momentum = [
            Variant(name, momentum) for name in self.momentum_optimizers for momentum in self.momenta
        ]
        decayed = [
            Variant(name, OPTIMIZERS[name].usual_momentum, decay)
            for name in self.decay_optimizers
            for decay in self.decays
        ]
        return tuple(dict.fromkeys((*usual, *by_momentum, *decayed)))

    def horizon(self, batch_size: int) -> int:
        """Steps of a run."""
        return self.least_steps + self.max_samples // batch_size

    @property
    def longest_run(self) -> int:
        """Steps of a run at the smallest batch size."""
        return self.horizon(self.batch_sizes[0])

    @property
    def run_examples(self) -> int:
        return self.least_steps * self.batch_sizes[-1] + self.max_samples

    def evaluated_steps(self, batch_size: int) -> tuple[int, ...]:
        """After how many updates a run is evaluated, the last time at its end."""
        horizon, steps = self.horizon(batch_size), [1]
        while steps[-1] < horizon:
            steps.append(min(horizon, max(steps[-1] + 1, round(steps[-1] * self.evaluation_ratio))))
        return tuple(steps)

    def probed_steps(self, batch_size: int) -> range:
        """Before which updates a confirming run is probed for its noise scales."""
        horizon = self.horizon(batch_size)
        return range(0, horizon, math.ceil(horizon / self.noise_points))

    @property
    def level(self) -> float:
        """Of percentiles over resampled seeds, at which their interval has the study's confidence."""
        return expanded_confidence(self.confidence, self.confirm_replicates)

    @property
    def planned_runs(self) -> int:
        runs = self.tuning_runs + self.confirm_replicates
        return len(self.variants) * len(self.batch_sizes) * runs
