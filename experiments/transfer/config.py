"""What a study of transfer compares: shapes at sizes that differ in steps, batch or width."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

from jaxtyping import Array, Float

from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    Between,
    Check,
    Count,
    OneOf,
    Positive,
    entries,
)
from experiments.study.options.errors import StudyError
from experiments.study.options.groups import Trained
from experiments.study.options.workload_config import WorkloadConfig
from experiments.study.running.setup import load_workload
from experiments.study.training.optimized import Optimized
from experiments.study.training.tuning import RateBudget
from experiments.study.training.usual_shapes import USUAL_SHAPES
from schedules import FAMILIES

LEAST = 3  # of a number that varies: an exponent is to be known without any of them
VARIED = Check(f"one or at least {LEAST} values", lambda values: len(values) not in range(2, LEAST))

Counts = Annotated[tuple[Count, ...], entries(1), ASCENDING, VARIED]
Families = Annotated[tuple[str, ...], OneOf(FAMILIES), entries(1), EACH_ONCE]


class Size(NamedTuple):
    """How large a run is.

    Attributes:
      num_steps: its horizon.
      batch_size: examples in a step.
      width: of the network; None where that is the workload's own.
    """

    num_steps: int
    batch_size: int
    width: int | None

    @property
    def numbers(self) -> dict[str, int]:
        """Those that are given."""
        return {name: number for name, number in self._asdict().items() if number is not None}

    def __str__(self) -> str:
        width = "" if self.width is None else f", width {self.width}"
        return f"{self.num_steps} steps, batch {self.batch_size}{width}"


class Contestant(NamedTuple):
    """The usual shape of a family at a size."""

    family: str
    size: Size

    @property
    def name(self) -> str:
        return f"{self.family}, {self.size}"

    @property
    def numbers(self) -> dict[str, float]:
        return {**self.size.numbers, **USUAL_SHAPES[self.family]}

    @property
    def multipliers(self) -> Float[Array, "steps"]:
        """The shape over the run."""
        return FAMILIES[self.family].multipliers(USUAL_SHAPES[self.family], self.size.num_steps)


@dataclass(frozen=True)
class Config(Trained, RateBudget, Optimized, WorkloadConfig):
    """What is compared."""

    horizons: Annotated[tuple[Count, ...], entries(LEAST), ASCENDING] = (100, 200, 400, 800)
    """Steps of the runs, ascending."""
    batch_sizes: Counts = (8, 16, 32, 64)
    """Examples in a step, ascending."""
    widths: Annotated[tuple[Count, ...], ASCENDING, VARIED] = (16, 32, 64, 128)
    """Widths of the network, ascending, where the workload has that option; its own when none is given."""
    families: Families = ("constant", "cosine", "linear", "wsd", "rex", "inverse_sqrt")
    """Families whose usual shapes are tuned at every size."""
    centre: Positive = 0.02
    """The middle of the learning rates tried first, at every size."""
    tolerance: Between = 0.05
    """What is found elsewhere transfers where it costs no more than this, as a fraction of the loss or, where
    that may be negative, in its unit."""
    screen_replicates: Count = 6

    batch_fields = ("batch_sizes",)

    def loaded_problems(self) -> Iterator[str]:
        for width in self.widths if self.sound("widths") else ():
            try:
                load_workload(self.workload, self.options_at(width))
            except StudyError as error:
                yield f"widths: {error}"

    def options_at(self, width: int | None) -> dict[str, int | float | str]:
        """Those of the workload at a width."""
        return {**self.workload_options, **({} if width is None else {"width": width})}

    @property
    def run_examples(self) -> int:
        return self.largest.num_steps * self.largest.batch_size

    @property
    def axes(self) -> dict[str, tuple[int, ...]]:
        """By the name of a number of a size, its values; of those that vary."""
        given = dict(zip(Size._fields, (self.horizons, self.batch_sizes, self.widths), strict=True))
        return {name: values for name, values in given.items() if len(values) > 1}

    @property
    def central(self) -> Size:
        """The size that all others but the largest share all numbers but one with: the middle of each, the
        lower of two."""
        given = self.horizons, self.batch_sizes, self.widths or (None,)
        return Size(*(values[(len(values) - 1) // 2] for values in given))

    @property
    def largest(self) -> Size:
        """The size that has the largest of all numbers."""
        return Size(self.horizons[-1], self.batch_sizes[-1], self.widths[-1] if self.widths else None)

    def along(self, axis: str) -> list[Size]:
        """The sizes that differ from the central one in that number, itself among them."""
        return [self.central._replace(**{axis: value}) for value in self.axes[axis]]

    @property
    def fitted(self) -> list[Size]:
        """All but the largest: the law is fitted to them."""
        sizes = dict.fromkeys(size for axis in self.axes for size in self.along(axis))
        return [size for size in sizes if size != self.largest]

    @property
    def sizes(self) -> list[Size]:
        return [*self.fitted, self.largest]

    @property
    def contestants(self) -> list[Contestant]:
        """Every shape at every size."""
        return [Contestant(family, size) for size in self.sizes for family in self.families]

    @property
    def planned_runs(self) -> int:
        """With three transfers from every size, and two rates for every shape at the largest."""
        tuned = len(self.contestants) * (self.tuning_runs + self.confirm_replicates)
        return tuned + (3 * len(self.sizes) + 2 * len(self.families)) * self.confirm_replicates


PRESETS: Mapping[str, Config] = MappingProxyType(
    {
        "digits": Config(),
        "transformer": Config(
            workload="shakespeare",
            workload_options={"width": 32, "layers": 1, "heads": 2, "context": 32},
            metric="test_loss",
            horizons=(25, 50, 100, 200, 400),
            batch_sizes=(16,),
            widths=(),
            families=("constant", "cosine", "linear", "wsd"),
            tolerance=0.01,
            more_rates=2,
            screen_replicates=2,
            confirm_replicates=8,
        ),
    }
)
