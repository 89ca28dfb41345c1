"""What is trained, on what, and under which conditions it is tested."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

from jaxtyping import Array, Float

from experiments.study.options.checks import EACH_ONCE, Count, OneOf, at_least, at_most, entries
from experiments.study.options.config import StudyConfig
from experiments.study.options.groups import Stepped, Trained
from experiments.study.training.cross_validation import FOLDS, CrossValidated
from experiments.study.training.tasks import DIGITS, Task, coloured_task
from experiments.study.training.tuning import Budget, Decays, MoreRates
from schedules import FAMILIES
from workloads.datasets.coloured_digits import TEST_FLIP

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates tried with each
    {
        "momentum": 0.1,
        "sgd": 0.5,
        "adamw": 0.005,
        "signum": 0.002,
        "muon": 0.02,
        "sam": 0.1,
        "ivon": 0.5,
    }
)
REFERENCE = "momentum"  # of optimizers
ADAPTIVE = ("adamw",)  # which divides by a second moment; in runs so short, ivon's is a constant
NOT_ADAPTIVE = ("sgd", "momentum")

COSINE, SEARCHED = "cosine", "searched"
SHAPES: Mapping[str, tuple[str, Mapping[str, float]]] = MappingProxyType(
    {  # families and shapes that shape_search found for 100 steps of Adam on the digits: cosine's, the winner
        COSINE: ("cosine", {"warmup": 0.143}),
        SEARCHED: (
            "smooth_nonmonotonic",
            {
                "y_start": 0.164,
                "y_end": 0.607,
                "x_peak": 0.166,
                "y1": 0.214,
                "dx1": 0.99,
                "y2": 0.536,
                "dx2": 0.629,
            },
        ),
    }
)


TASKS: Mapping[str, Task] = MappingProxyType({"digits": DIGITS, "coloured": coloured_task((TEST_FLIP,))})


class Contestant(NamedTuple):
    """An optimizer with a shape of the learning rate, on a task."""

    task: str
    optimizer: str
    shape: str

    @property
    def name(self) -> str:
        return "/".join(self)

    @property
    def numbers(self) -> Mapping[str, float]:
        return {}

    @property
    def title(self) -> str:
        """On its task."""
        return f"{self.optimizer}, {self.shape}"


@dataclass(frozen=True)
class Config(Stepped, Trained, CrossValidated, Budget, StudyConfig):
    """What is compared."""

    tasks: Annotated[tuple[str, ...], OneOf(TASKS), entries(1), EACH_ONCE] = tuple(TASKS)
    """What to train on: digits (tested turned, blurred, noisy and covered), coloured (colour misleads)."""
    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), EACH_ONCE] = tuple(CENTRES)
    """What to compare; momentum is always added, to compare with."""
    hidden: Count = 128
    """Units of the hidden layer."""
    validation_size: Annotated[int, at_least(2), at_most(1000)] = 198
    """Images of a run that it does not train on, by which everything is chosen."""
    error_range: Annotated[float, at_least(1), at_most(100)] = 3.0
    """Settings are compared at equal error in distribution up to this multiple of the least."""
    num_steps: Count = 300
    batch_size: Count = 32
    more_rates: MoreRates = 2
    decays: Decays = (0.0, 1e-3)
    screen_replicates: Count = FOLDS
    confirm_replicates: Count = 12

    @property
    def compared(self) -> tuple[str, ...]:
        """The optimizers, the reference included."""
        return tuple(dict.fromkeys((*self.optimizers, REFERENCE)))

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        return tuple(
            Contestant(task, optimizer, shape)
            for task in self.tasks
            for optimizer in self.compared
            for shape in SHAPES
        )

    def multipliers(self, shape: str) -> Float[Array, "steps"]:
        """The learning rate of every step, as a fraction of the peak."""
        family, params = SHAPES[shape]
        return FAMILIES[family].multipliers(params, self.num_steps)
