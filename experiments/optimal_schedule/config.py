"""What a study of best schedules covers: a base setting, and others that differ from it in one respect."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import jax
from jaxtyping import Array, Float

from experiments.study.options.checks import (
    EACH_ONCE,
    BelowOne,
    Check,
    Count,
    CountOrNone,
    OneOf,
    Positive,
    Several,
    at_least,
    at_most,
    entries,
    value_problems,
)
from experiments.study.options.config import Group, StudyConfig
from schedules import FAMILIES, Family
from schedules.descent import MINIMISERS
from schedules.optimal import START_SHAPES, schedule_starts
from schedules.search import named_key
from workloads.linear_regression import LARGEST_EXPONENT

VARIED = {  # by field of the base setting, its symbol and the field of other values
    "exponent": ("a", "exponents"),
    "batch_size": ("B", "batch_sizes"),
    "num_steps": ("T", "horizons"),
    "momentum": ("β", "momenta"),
}
MEAN_FIELD = "mean field"
LARGEST_DIMENSION = 1_000  # a step is a product with dimension³ / 2 numbers
LONGEST_SCHEDULE = 100_000

Exponent = Annotated[float, at_least(0), at_most(LARGEST_EXPONENT)]
Steps = Annotated[int, at_least(2), at_most(LONGEST_SCHEDULE)]


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
        return ", ".join(f"{symbol} = {getattr(self, name):g}" for name, (symbol, _) in VARIED.items())

    @property
    def rate_unit(self) -> float:
        """B (1 - β): the best learning rate of an isotropic spectrum, where β = 0."""
        return self.batch_size * (1 - self.momentum)

    @property
    def searches(self) -> tuple[str, ...]:
        """Over schedules: by each minimiser through the exact loss, and by one through the mean field, which
        knows no momentum."""
        return (*MINIMISERS,) if self.momentum else (*MINIMISERS, MEAN_FIELD)


@dataclass(frozen=True)
class Descents:
    """How much is tried in every setting, and how well it is certified."""

    group: ClassVar[Group] = "search"

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


@dataclass(frozen=True)
class Config(Descents, StudyConfig):
    """What is sought."""

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

    def joint_problems(self) -> Iterator[str]:
        for name, (_, others) in VARIED.items():
            values = getattr(self, name), *getattr(self, others)
            if self.sound(name, others) and len(set(values)) < len(values):
                yield f"{others}: must differ from one another and from {name}, got {values[1:]}."
        within_data = Annotated[int, Check(f"in [1, {self.dimension}]", lambda size: size <= self.dimension)]
        for field, hint in (("batch_size", within_data), ("batch_sizes", tuple[within_data, ...])):
            if self.sound(field, "dimension"):
                yield from value_problems(field, getattr(self, field), hint)

    @property
    def planned_runs(self) -> int:
        starts = len(START_SHAPES) * len(self.start_scales) + self.perturbed_starts
        fits = 2 * len(self.families) * (self.family_starts + 1)  # each certified, as every search is
        return sum(len(setting.searches) * (starts + 1) + fits for setting in self.settings)

    @property
    def settings(self) -> tuple[Setting, ...]:
        """The base setting, then each variation of it."""
        base = {name: getattr(self, name) for name in VARIED}
        varied = [
            (f"{symbol} = {value:g}", {**base, name: value})
            for name, (symbol, others) in VARIED.items()
            for value in getattr(self, others)
        ]
        settings = enumerate([("base", base), *varied])
        return tuple(Setting(number, label, **values) for number, (label, values) in settings)

    @property
    def searched(self) -> tuple[Family, ...]:
        return tuple(FAMILIES[name] for name in self.families)

    def starts(self, num_steps: int) -> dict[str, Float[Array, "steps"]]:
        """Where descents over schedules start from, in the setting's unit of rate."""
        key = named_key(jax.random.key(self.seed), "starts")
        return schedule_starts(num_steps, tuple(self.start_scales), self.perturbed_starts, key)
