"""What a study of generalisation trains and measures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

from experiments.study.options.checks import (
    EACH_ONCE,
    Check,
    Count,
    NotNegative,
    OneOf,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import Group, StudyConfig
from experiments.study.options.groups import Stepped, Trained
from experiments.study.options.metrics import curve_metric

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates of each optimizer
    {"sgd": 0.3, "momentum": 0.1, "adam": 0.01}
)
RUNGS = (8, 4, 2, 1)  # a run is measured at its horizon over these
POOL = 1437  # the training images that subsets and validation images are drawn from
MOST_RATES = 60  # each three times the one before; more leave the range of a float32

Steps = Annotated[Count, Check(f"a multiple of {RUNGS[0]}", lambda num_steps: num_steps % RUNGS[0] == 0)]


@dataclass(frozen=True)
class Config(Stepped, Trained, StudyConfig):
    """What is studied."""

    group: ClassVar[Group] = "what"
    batch_fields: ClassVar[tuple[str, ...]] = ("batch_size",)

    widths: Annotated[tuple[Count, ...], entries(1), EACH_ONCE] = (4, 8, 16)
    """Hidden units of the networks."""
    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), entries(1), EACH_ONCE] = ("momentum", "adam")
    """What to train with: sgd, momentum, adam."""
    rates: Annotated[int, at_least(1), at_most(MOST_RATES)] = 5
    """Learning rates of each optimizer, constant along a run, each three times the one before."""
    train_sizes: Annotated[tuple[Count, ...], entries(1), EACH_ONCE] = (100, 200, 400, 800)
    """Numbers of training examples; each divides the largest."""
    replicates: Count = 4
    """Seeds for every width, optimizer, rate and train size; each draws its own examples."""
    halving_size: Count = 200
    """Number of training examples where successive halving is replayed."""
    halving_replicates: Count = 16
    """Replays of successive halving, each on runs of its own seed; as many fresh seeds score the choices."""
    validation_size: Annotated[int, at_least(1), at_most(POOL - 1)] = 200
    """Examples that no run trains on, for the validation loss."""
    num_steps: Steps = 800
    """Steps in a run, a multiple of 8."""
    batch_size: Count = 32
    damping: NotNegative = 1e-3
    """What is added to every eigenvalue of the curvature, in units of the loss's curvature."""

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if not self.sound("train_sizes", "halving_size", "batch_size", "validation_size"):
            return
        least, most = self.batch_size, POOL - self.validation_size
        drawn = Check(
            f"in [{least}, {most}], from the batch size to the training images without the validation ones",
            lambda size: least <= size <= most,
        )
        divisor = Check("a divisor of the largest one", lambda size: self.largest_size % size == 0)
        sizes = *(("train_sizes", size) for size in self.train_sizes), ("halving_size", self.halving_size)
        for field, size in sizes:
            yield from drawn.problems(field, size) or divisor.problems(field, size)

    @property
    def planned_runs(self) -> int:
        candidate_runs = len(self.train_sizes) * self.replicates + 2 * self.halving_replicates
        return len(self.widths) * len(self.optimizers) * self.rates * candidate_runs

    @property
    def largest_size(self) -> int:
        return max(*self.train_sizes, self.halving_size)

    @property
    def chunk_runs(self) -> int:
        """Runs that are trained and recorded together."""
        return self.rates * self.replicates * len(self.train_sizes)

    @property
    def score(self) -> str:
        """The metric that decides whether a run diverged."""
        return curve_metric("test_loss", self.num_steps)

    @property
    def rungs(self) -> tuple[int, ...]:
        """After how many steps the runs are measured."""
        return tuple(self.num_steps // part for part in RUNGS)


PRESETS: Mapping[str, Config] = MappingProxyType({"digits": Config()})
