"""What a study of reversals compares: shapes, at their own best learning rates and at one another's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from experiments.study.options.checks import EACH_ONCE, Count, OneOf, Positive, entries
from experiments.study.options.groups import Stepped, Trained
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.tuning import MoreRates, RateBudget
from schedules import FAMILIES

REFERENCE = "cosine"  # in every study: its learning rate is the one that is tuned where only one is

Families = Annotated[tuple[str, ...], OneOf(FAMILIES), entries(1), EACH_ONCE]
Optimizers = Annotated[tuple[str, ...], OneOf(OPTIMIZERS), entries(1), EACH_ONCE]


@dataclass(frozen=True)
class Config(Stepped, Trained, RateBudget, WorkloadConfig):
    """What is compared."""

    families: Families = tuple(FAMILIES)
    """Families whose usual shapes are compared, pair by pair; cosine is always added."""
    optimizers: Optimizers = ("momentum", "adamw", "signum")
    """What the schedules drive, without weight decay."""
    centres: Annotated[tuple[Positive, ...], entries(1)] = (0.2, 0.02, 0.01)
    """The middle of the learning rates tried first, one for each of the optimizers."""
    batch_size: Count = 16
    more_rates: MoreRates = 3
    screen_replicates: Count = 6
    confirm_replicates: Count = 20

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("optimizers", "centres") and len(self.centres) != len(self.optimizers):
            yield f"centres: must be one for each of {', '.join(self.optimizers)}, got {self.centres}."

    @property
    def compared(self) -> tuple[str, ...]:
        """The families, the reference included."""
        return tuple(dict.fromkeys((*self.families, REFERENCE)))

    @property
    def planned_runs(self) -> int:
        """With all shapes at six best rates, of which some are the same."""
        a_shape = self.tuning_runs + 6 * self.confirm_replicates
        return len(self.optimizers) * len(self.compared) * a_shape


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "cnn": Config(workload_options={"model": "cnn"}, num_steps=50),
        "linear_regression": Config(workload="linear_regression", centres=(0.5, 0.5, 0.25)),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 1, "heads": 2, "context": 32},
            metric="test_loss",
            families=("constant", "cosine", "linear", "wsd", "inverse_sqrt", "rex"),
            optimizers=("adamw",),
            centres=(0.02,),
            num_steps=200,
            more_rates=0,
            screen_replicates=3,
            confirm_replicates=10,
        ),
    }
)
