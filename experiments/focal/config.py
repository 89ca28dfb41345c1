"""Which losses are descended on: the focal loss at several γ, and losses over environments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from experiments.focal.objectives import PENALISED
from experiments.study.options.checks import (
    ASCENDING,
    EACH_ONCE,
    Between,
    Count,
    NotNegative,
    OneOf,
    Positive,
    Several,
    at_least,
    at_most,
    entries,
)
from experiments.study.options.config import StudyConfig
from experiments.study.options.groups import Scheduled, Trained
from experiments.study.training.cross_validation import FOLDS, CrossValidated
from experiments.study.training.tasks import DIGITS, Task, coloured_task
from experiments.study.training.tuning import MoreRates, RateBudget

CENTRE = 0.005  # the middle of the learning rates of Adam
CROSS_ENTROPY = 0.0  # the γ that all others are compared with
ERM = "erm"


class Focal(NamedTuple):
    """The focal loss with γ."""

    gamma: float

    @property
    def name(self) -> str:
        return f"focal γ={self.gamma:g}"

    @property
    def numbers(self) -> Mapping[str, float]:
        return {"gamma": self.gamma}


class Invariant(NamedTuple):
    """A loss over environments with the weight of its penalty, which is the step size of group_dro."""

    method: str
    weight: float

    @property
    def name(self) -> str:
        return self.method if self.method == ERM else f"{self.method} {self.weight:g}"

    @property
    def numbers(self) -> Mapping[str, float]:
        return {"weight": self.weight}


@dataclass(frozen=True)
class Config(Scheduled, Trained, CrossValidated, RateBudget, StudyConfig):
    """What is compared."""

    gammas: Annotated[tuple[NotNegative, ...], entries(1), ASCENDING] = (0.5, 1.0, 2.0, 3.0, 5.0)
    """γ of the focal loss; 0, the cross-entropy, is always added, to compare with."""
    methods: Annotated[tuple[str, ...], OneOf(PENALISED), EACH_ONCE] = tuple(PENALISED)
    """Losses over environments: irm, vrex, ib_irm, group_dro; erm is always added, to compare with."""
    weights: Annotated[tuple[Positive, ...], entries(1), ASCENDING] = (1.0, 10.0, 100.0)
    """Weights of the penalties, tried one beside the other; a hundredth of each is group_dro's step size."""
    flips: Annotated[tuple[Between, ...], entries(1), ASCENDING] = (0.5, 0.9)
    """Shares of flipped colours that are tested beside those of training, .1 and .2."""
    hidden: Count = 32
    """Units of the hidden layer."""
    validation_size: Annotated[int, at_least(2), at_most(1000)] = 198
    """Images of a run that it does not train on, by which learning rates are chosen."""
    probes: Several = 16
    """Random vectors that estimate a trace."""
    num_steps: Count = 400
    batch_size: Count = 32
    more_rates: MoreRates = 2
    screen_replicates: Count = FOLDS
    confirm_replicates: Count = 12

    @property
    def focal(self) -> tuple[Focal, ...]:
        """With every γ, 0 included."""
        return tuple(Focal(gamma) for gamma in dict.fromkeys((CROSS_ENTROPY, *self.gammas)))

    @property
    def invariant(self) -> tuple[Invariant, ...]:
        """Every method with every weight, erm first."""
        tried = (
            Invariant(method, PENALISED[method] * weight)
            for method in self.methods
            for weight in self.weights
        )
        return Invariant(ERM, 0.0), *tried

    @property
    def contestants(self) -> tuple[Focal | Invariant, ...]:
        return *self.focal, *self.invariant

    @property
    def coloured(self) -> Task:
        """The digits whose colour misleads, with all that is tested."""
        return coloured_task(self.flips)

    def task(self, contestant: Focal | Invariant) -> Task:
        """What a contestant is trained on."""
        return DIGITS if isinstance(contestant, Focal) else self.coloured
