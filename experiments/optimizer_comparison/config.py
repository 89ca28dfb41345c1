"""What an optimizer comparison compares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated

from jaxtyping import Array, Float

from experiments.optimizer_comparison.claims import ORIGINAL, REFERENCE, SCHEDULE_FREE, VARIANTS
from experiments.study.options.checks import EACH_ONCE, Count, OneOf
from experiments.study.options.groups import Scheduled, Trained
from experiments.study.options.pairs import WorkloadOptions
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.tuning import Budget

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates tried with each
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
        SCHEDULE_FREE: 0.05,
        **dict.fromkeys(VARIANTS, 0.04),
    }
)


@dataclass(frozen=True)
class Config(Scheduled, Trained, Budget, WorkloadConfig):
    """What is compared."""

    workload_options: WorkloadOptions = field(default_factory=lambda: {"model": "cnn"})
    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), EACH_ONCE] = tuple(
        name for name in CENTRES if name not in VARIANTS
    )
    """What to compare; adamw is always added, to compare with."""
    curve_points: Count = 10
    """Evaluations along each confirming run."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("num_steps", "curve_points") and self.curve_points > self.num_steps:
            yield f"curve_points: must be at most num_steps={self.num_steps}, got {self.curve_points}."

    @property
    def compared(self) -> tuple[str, ...]:
        """The optimizers, the reference included."""
        return tuple(dict.fromkeys((*self.optimizers, REFERENCE)))

    @property
    def references(self) -> tuple[str, ...]:
        """From what changes are told: adamw, and muon where it is compared with its variants."""
        variants = ORIGINAL in self.compared and not VARIANTS.keys().isdisjoint(self.compared)
        return (REFERENCE, ORIGINAL) if variants else (REFERENCE,)

    def multipliers_of(self, optimizer: str) -> Float[Array, "steps"]:
        """The learning rate of every step with an optimizer, as a fraction of its peak: what is schedule-free
        has the warm-up alone."""
        config = replace(self, schedule="constant") if optimizer == SCHEDULE_FREE else self
        return config.multipliers

    @property
    def curve_steps(self) -> tuple[int, ...]:
        """After how many updates the confirming runs are evaluated."""
        return tuple(round(self.num_steps * (k + 1) / self.curve_points) for k in range(self.curve_points))

    @property
    def planned_runs(self) -> int:
        return len(self.compared) * (self.tuning_runs + self.confirm_replicates)


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
