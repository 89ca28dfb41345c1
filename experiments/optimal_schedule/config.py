"""What a study of best schedules covers: a base setting, and others that differ from it in one respect."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from experiments.study.choices import StudyError, choice_problem
from schedules import FAMILIES, Family
from schedules.optimal import schedule_starts
from schedules.search import named_key

VARIED = {
    "exponent": "exponents",
    "batch_size": "batch_sizes",
    "num_steps": "horizons",
    "momentum": "momenta",
}
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
class Config:
    """What is sought; it alone decides the results, bit for bit."""

    dimension: int = 24
    """D: how many parameters and examples linear regression has."""
    exponent: float = 1.0
    """a of the base setting's spectrum, λ_k ∝ 1/k^a."""
    batch_size: int = 4
    """Batch size of the base setting."""
    num_steps: int = 100
    """Steps of the base setting."""
    momentum: float = 0.0
    """Heavy-ball momentum of the base setting."""
    exponents: tuple[float, ...] = (0.5, 2.0)
    """Other spectra, all else as in the base setting."""
    batch_sizes: tuple[int, ...] = (2, 8)
    """Other batch sizes, all else as in the base setting."""
    horizons: tuple[int, ...] = (50, 200)
    """Other numbers of steps, all else as in the base setting."""
    momenta: tuple[float, ...] = (0.5, 0.9)
    """Other momenta, all else as in the base setting."""
    families: tuple[str, ...] = tuple(FAMILIES)
    """Families of schedules that are compared with the best found."""
    training_kernels: int = 4
    """Kernels whose mean log loss is minimised."""
    fresh_kernels: int = 200
    """Other kernels that every schedule is certified on; only their losses are reported."""
    start_scales: tuple[float, ...] = (0.25, 0.5)
    """Learning rates of the starts, in units of B (1 - β), the best of an isotropic spectrum."""
    perturbed_starts: int = 10
    """Random starts beside the constant, linear and cosine ones."""
    evaluations: int = 200
    """Evaluations of the loss and its gradient in a descent over schedules, at most."""
    family_starts: int = 6
    """Starts in each family."""
    family_evaluations: int = 100
    """Evaluations of the loss and its gradient in a descent within a family, at most."""
    confidence: float = 0.95
    """Level of all intervals, between 0 and 1."""
    seed: int = 0
    """Root of everything random."""

    def __post_init__(self):
        problems = [
            *(choice_problem("families", name, FAMILIES) for name in self.families),
            *self._setting_problems(),
            *self._number_problems(),
        ]
        if any(problems):
            raise StudyError("\n".join(filter(None, problems)))

    def _setting_problems(self) -> list[str]:
        problems = []
        if len(set(self.families)) < len(self.families) or not self.families:
            problems.append(f"families: at least one, each named once, got {self.families}.")
        for name, others in VARIED.items():
            values = (getattr(self, name), *getattr(self, others))
            if len(set(values)) < len(values):
                problems.append(f"{others}: must differ from one another and from {name}, got {values[1:]}.")
        within = {
            "exponent": ("at least 0", lambda value: value >= 0),
            "batch_size": (f"in [1, {self.dimension}]", lambda value: 1 <= value <= self.dimension),
            "num_steps": ("at least 2", lambda value: value >= 2),
            "momentum": ("in [0, 1)", lambda value: 0 <= value < 1),
        }
        for setting in self.settings:
            for name, (allowed, holds) in within.items():
                if not holds(getattr(setting, name)):
                    problems.append(f"{name}: must be {allowed}, got {getattr(setting, name)}.")
        return list(dict.fromkeys(problems))

    def _number_problems(self) -> list[str]:
        least = {
            "dimension": 2,
            "training_kernels": 1,
            "fresh_kernels": 2,
            "perturbed_starts": 0,
            "evaluations": 1,
            "family_starts": 1,
            "family_evaluations": 1,
        }
        problems = [
            f"{name}: must be at least {low}, got {getattr(self, name)}."
            for name, low in least.items()
            if getattr(self, name) < low
        ]
        if not self.start_scales or not all(scale > 0 for scale in self.start_scales):
            problems.append(f"start_scales: must be positive, at least one, got {self.start_scales}.")
        if not 0 < self.confidence < 1:
            problems.append(f"confidence: must be between 0 and 1, got {self.confidence}.")
        if not 0 <= self.seed < 2**32:
            problems.append(f"seed: must be in [0, 2^32), got {self.seed}.")
        return problems

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
