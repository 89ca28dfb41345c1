"""What a study of best schedules covers: a base setting, and others that differ from it in one respect."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
from jaxtyping import Array, Float

from experiments.study.options.checks import (
    EACH_ONCE,
    BelowOne,
    Check,
    Confidence,
    Count,
    CountOrNone,
    OneOf,
    Positive,
    Seed,
    Several,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import StudyConfig
from schedules import FAMILIES, Family
from schedules.descent import MINIMISERS
from schedules.optimal import START_SHAPES, schedule_starts
from schedules.search import named_key
from workloads.linear_regression import LARGEST_EXPONENT

VARIED = {
    "exponent": "exponents",
    "batch_size": "batch_sizes",
    "num_steps": "horizons",
    "momentum": "momenta",
}
LARGEST_DIMENSION = 1_000  # a step is a product with dimension³ / 2 numbers
LONGEST_SCHEDULE = 100_000

Exponent = Annotated[float, at_least(0), at_most(LARGEST_EXPONENT)]
Steps = Annotated[int, at_least(2), at_most(LONGEST_SCHEDULE)]
SYMBOLS = {"exponent": "a", "batch_size": "B", "num_steps": "T", "momentum": "β"}


class Setting(NamedTuple):
    """A problem whose best schedule is sought.

    Attributes:
      number: its place among the settings of the study.
      label: how it differs from the base setting.
      exponent: a of the spectrum λ_k ∝ 1/k^a.
      batch_size: B.
      num_steps: T.
      momentum: β.
    """

    number: int
    label: str
    exponent: float
    batch_size: int
    num_steps: int
    momentum: float

    @property
    def text(self) -> str:
        return ", ".join(f"{symbol} = {getattr(self, name):g}" for name, symbol in SYMBOLS.items())

    @property
    def rate_unit(self) -> float:
        """B (1 - β): the best learning rate of an isotropic spectrum, where β = 0."""
        return self.batch_size * (1 - self.momentum)


@dataclass(frozen=True)
class Config(StudyConfig):
    """What is sought; on one device or on several, it alone decides the results, bit for bit."""

    dimension: Annotated[int, at_least(2), at_most(LARGEST_DIMENSION)] = 24
    """D: how many parameters and examples linear regression has."""
    exponent: Exponent = 1.0
    """a of the base setting's spectrum, λ_k ∝ 1/k^a."""
    batch_size: Count = 4
    """Batch size of the base setting."""
    num_steps: Steps = 100
    """Steps of the base setting."""
    momentum: BelowOne = 0.0
    """Heavy-ball momentum of the base setting."""
    exponents: tuple[Exponent, ...] = (0.5, 2.0)
    """Other spectra, all else as in the base setting."""
    batch_sizes: tuple[Count, ...] = (2, 8)
    """Other batch sizes, all else as in the base setting."""
    horizons: tuple[Steps, ...] = (50, 200)
    """Other numbers of steps, all else as in the base setting."""
    momenta: tuple[BelowOne, ...] = (0.5, 0.9)
    """Other momenta, all else as in the base setting."""
    families: Annotated[tuple[str, ...], OneOf(FAMILIES), entries(1), EACH_ONCE] = tuple(FAMILIES)
    """Families of schedules that are compared with the best found."""
    training_kernels: Count = 4
    """Kernels whose mean log loss is minimised."""
    fresh_kernels: Several = 200
    """Other kernels that every schedule is certified on; only their losses are reported."""
    start_scales: Annotated[tuple[Positive, ...], entries(1), EACH_ONCE] = (0.25, 0.5)
    """Learning rates of the starts, in units of B (1 - β), the best of an isotropic spectrum."""
    perturbed_starts: CountOrNone = 10
    """Random starts beside the constant, linear and cosine ones."""
    evaluations: Count = 200
    """Evaluations of the loss and its gradient in a descent over schedules, at most."""
    family_starts: Count = 6
    """Starts in each family."""
    family_evaluations: Count = 100
    """Evaluations of the loss and its gradient in a descent within a family, at most."""
    confidence: Confidence = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: Seed = 0
    """Root of everything random."""

    def joint_problems(self) -> Iterator[str]:
        for name, others in VARIED.items():
            values = getattr(self, name), *getattr(self, others)
            if self.sound(name, others) and len(set(values)) < len(values):
                yield f"{others}: must differ from one another and from {name}, got {values[1:]}."
        of_data = Check(f"in [1, {self.dimension}]", lambda size: size <= self.dimension)
        for field, sizes in (("batch_size", (self.batch_size,)), ("batch_sizes", self.batch_sizes)):
            if self.sound(field, "dimension"):
                for size in sizes:
                    yield from of_data.problems(field, size)

    @property
    def planned_runs(self) -> int:
        starts = len(START_SHAPES) * len(self.start_scales) + self.perturbed_starts
        fits = 2 * len(self.families) * (self.family_starts + 1)  # each certified, as every search is
        searches = (len(MINIMISERS) + (not setting.momentum) for setting in self.settings)
        return sum(count * (starts + 1) + fits for count in searches)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The base setting, then each variation of it."""
        base = {name: getattr(self, name) for name in VARIED}
        varied = [(name, value) for name, others in VARIED.items() for value in getattr(self, others)]
        return (
            Setting(0, "base", **base),
            *(
                Setting(number, f"{SYMBOLS[name]} = {value:g}", **{**base, name: value})
                for number, (name, value) in enumerate(varied, start=1)
            ),
        )

    @property
    def searched(self) -> tuple[Family, ...]:
        return tuple(FAMILIES[name] for name in self.families)

    def starts(self, num_steps: int) -> dict[str, Float[Array, "steps"]]:
        """Where descents over schedules start from, in the setting's unit of rate."""
        key = named_key(jax.random.key(self.seed), "starts")
        return schedule_starts(num_steps, tuple(self.start_scales), self.perturbed_starts, key)
