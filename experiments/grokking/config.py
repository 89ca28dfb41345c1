"""What is compared: remedies for a network that fits and does not generalise, under several optimizers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

from experiments.study.options.checks import (
    EACH_ONCE,
    Between,
    Count,
    OneOf,
    Positive,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import StudyConfig
from experiments.study.options.groups import Curved
from experiments.study.training.tuning import FirstRates, MoreRates, RateBudget
from workloads.modular_addition import LARGEST_MODULUS, LARGEST_WIDTH

NO_REMEDY, DECAY, ORTHOGONAL, STABLEMAX, FLOAT64 = "none", "decay", "orthogonal", "stablemax", "float64"
ADAMW, MUON = "adamw", "muon"
CENTRES: Mapping[str, float] = MappingProxyType({ADAMW: 0.01, MUON: 0.02})  # of the learning rates


class Remedy(NamedTuple):
    """What is done about a network that fits and does not generalise.

    Attributes:
      loss: what is descended on, and
      loss_precision: what that is computed in, as options of the workload.
      orthogonal: whether gradients lose their part along the weights.
      decays: whether weights decay.
    """

    loss: str = "softmax"
    loss_precision: str = "float32"
    orthogonal: bool = False
    decays: bool = False


REMEDIES: Mapping[str, Remedy] = MappingProxyType(
    {
        NO_REMEDY: Remedy(),
        FLOAT64: Remedy(loss_precision="float64"),
        STABLEMAX: Remedy(loss="stablemax", loss_precision="float64"),
        ORTHOGONAL: Remedy(orthogonal=True),
        DECAY: Remedy(decays=True),
    }
)


class Contestant(NamedTuple):
    """A remedy under an optimizer, with its weight decay."""

    optimizer: str
    remedy: str
    weight_decay: float

    @property
    def name(self) -> str:
        return f"{self.optimizer} {self.remedy}"

    @property
    def numbers(self) -> dict[str, float]:
        return {"weight_decay": self.weight_decay}


@dataclass(frozen=True)
class Config(Curved, RateBudget, StudyConfig):
    """What is compared."""

    modulus: Annotated[int, at_least(2), at_most(LARGEST_MODULUS)] = 47
    """p, of a + b mod p."""
    train_share: Between = 0.4
    """Of the pairs, that are for training; all of them are in every step."""
    width: Annotated[int, at_least(2), at_most(LARGEST_WIDTH)] = 64
    """Of the hidden layer."""
    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), EACH_ONCE, entries(1)] = tuple(CENTRES)
    """Under which the remedies are tried."""
    remedies: Annotated[tuple[str, ...], OneOf(REMEDIES), EACH_ONCE, entries(1)] = tuple(REMEDIES)
    """What is tried: nothing, softmax in float64, StableMax, orthogonal gradients, weight decay."""
    weight_decay: Positive = 3.0
    """Of the remedy that decays, times the learning rate."""
    num_steps: Count = 1_000
    """Steps of a run: what has not generalised after them is told so."""
    curve_points: Count = 80
    """Evaluations along each run."""
    first_rates: FirstRates = 3
    more_rates: MoreRates = 2
    screen_replicates: Count = 2
    confirm_replicates: Count = 8

    def joint_problems(self) -> Iterator[str]:
        yield from super().joint_problems()
        if self.sound("modulus", "train_share") and self.train_pairs < 1:
            yield f"train_share: must leave a pair of modulus={self.modulus}, got {self.train_share}."

    def unused(self) -> Iterator[tuple[str, str]]:
        yield from super().unused()
        if DECAY not in self.remedies:
            yield "weight_decay", f"{DECAY} is not among the remedies"

    @property
    def train_pairs(self) -> int:
        """How many, all of which are a batch."""
        return int(self.train_share * self.modulus**2)

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        return tuple(
            Contestant(optimizer, remedy, self.weight_decay if REMEDIES[remedy].decays else 0.0)
            for optimizer in self.optimizers
            for remedy in self.remedies
        )

    @property
    def run_examples(self) -> int:
        return self.train_pairs * self.num_steps
