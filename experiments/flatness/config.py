"""What a study of flat minima compares: methods, at equal gradients and at equal steps."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    BelowOne,
    Count,
    OneOf,
    Positive,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import StudyConfig
from experiments.study.options.groups import Scheduled, Trained
from experiments.study.training.tuning import MoreRates, RateBudget
from schedules import FAMILIES

REFERENCE = "momentum"  # in every study, as what the others are compared with
GRADIENTS, STEPS = "equal gradients", "equal steps"
VIEWS = (GRADIENTS, STEPS)
IMAGES = 1797  # of the digits


class Method(NamedTuple):
    """What is trained with.

    Attributes:
      gradients: that a step takes.
      centre: the middle of the learning rates tried; None where it finds its own.
      radius: what the radii that are tried are multiplied by; 0 where it has none.
    """

    gradients: int
    centre: float | None
    radius: float = 0.0


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "sgd": Method(1, 0.4),
        REFERENCE: Method(1, 0.05),
        "adamw": Method(1, 0.002),
        "muon": Method(1, 0.01),
        "ivon": Method(1, 0.15),
        "sam": Method(2, 0.1, radius=1.0),
        "asam": Method(2, 0.1, radius=5.0),
        "sa_sam": Method(3, None),
        "sa_sam_published": Method(3, None),
    }
)


class Contestant(NamedTuple):
    """A method in one setting.

    Attributes:
      method: its name.
      steps: in a run.
      flipped: the share of the training labels that are flipped.
      radius: ρ; 0 where it has none.
    """

    method: str
    steps: int
    flipped: float
    radius: float = 0.0

    @property
    def rules(self) -> Method:
        return METHODS[self.method]

    @property
    def title(self) -> str:
        """Without the steps and the labels.

        >>> Contestant("sam", 600, 0.2, 0.05).title
        'sam ρ=0.05'
        """
        return f"{self.method} ρ={self.radius:g}" if self.radius else self.method

    @property
    def name(self) -> str:
        return f"{self.title}, {self.steps} steps, {self.flipped:g} flipped"

    @property
    def numbers(self) -> dict[str, float]:
        return {"steps": self.steps, "flipped": self.flipped, "radius": self.radius}


@dataclass(frozen=True)
class Config(Scheduled, Trained, RateBudget, StudyConfig):
    """What is compared."""

    methods: Annotated[tuple[str, ...], OneOf(METHODS), EACH_ONCE] = tuple(METHODS)
    """What to train with; momentum is always added, to compare with."""
    flipped: Annotated[tuple[BelowOne, ...], entries(1), ASCENDING] = (0.0, 0.2, 0.4)
    """Shares of the training labels that are flipped to another one, ascending."""
    radii: Annotated[tuple[Positive, ...], entries(1), ASCENDING] = (0.1, 0.2, 0.4)
    """Radii of sam, ascending, each with a learning rate of its own; asam's are five times as large."""
    gradients: Annotated[Count, at_least(3)] = 1200
    """Gradients that a run takes where they are equal for all."""
    num_steps: Count = 600
    """Steps in a run where they are equal for all."""
    width: Count = 64
    """Hidden units of the network."""
    train_size: Count = 1024
    """Images to train on."""
    validation_size: Annotated[int, at_least(1), at_most(IMAGES - 2)] = 256
    """Images, with their true labels, to tune by; the rest of the 1,797 test."""
    more_rates: MoreRates = 1
    confirm_replicates: Count = 16

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if not self.sound("train_size", "validation_size", "batch_size"):
            return
        most = IMAGES - 1 - self.validation_size
        if not self.batch_size <= self.train_size <= most:
            yield (
                f"train_size: must be in [{self.batch_size}, {most}], from the batch size to the images"
                f" without those that validate and one to test with, got {self.train_size}."
            )

    @property
    def run_examples(self) -> int:
        return self.batch_size * max(self.gradients, self.num_steps)

    @property
    def compared(self) -> tuple[str, ...]:
        """The methods, the reference included."""
        return tuple(dict.fromkeys((REFERENCE, *self.methods)))

    def steps(self, method: str, view: str) -> int:
        """In a run of that method in that comparison."""
        return self.num_steps if view == STEPS else self.gradients // METHODS[method].gradients

    def longest(self, method: str) -> int:
        """The most steps of a run of that method."""
        return max(self.steps(method, view) for view in VIEWS)

    def radii_of(self, method: str) -> tuple[float, ...]:
        """Those that are tried."""
        unit = METHODS[method].radius
        return tuple(unit * radius for radius in self.radii) if unit else (0.0,)

    def contestants(self, method: str) -> list[Contestant]:
        """It with every radius, length and share of flipped labels."""
        lengths = dict.fromkeys(self.steps(method, view) for view in VIEWS)
        kinds = itertools.product(lengths, self.flipped, self.radii_of(method))
        return [Contestant(method, *kind) for kind in kinds]

    def learning_rates(self, contestant: Contestant, peak: float) -> Float[np.ndarray, "longest"]:
        """Of a run's steps; no step after its last one is made, of whatever rate."""
        family = FAMILIES[self.schedule]
        rates = peak * np.asarray(family.multipliers({"warmup": self.warmup}, contestant.steps))
        rest = self.longest(contestant.method) - contestant.steps
        return np.pad(rates, (0, rest)).astype(np.float32)

    @property
    def planned_runs(self) -> int:
        found = itertools.chain.from_iterable(map(self.contestants, self.compared))
        tuned = [contestant.rules.centre is not None for contestant in found]
        return sum(tuned) * self.tuning_runs + len(tuned) * self.confirm_replicates


PRESETS: Mapping[str, Config] = MappingProxyType({"digits": Config()})
