"""What a study of generalisation tries, the runs that try it, and what is measured."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

from jaxtyping import PRNGKeyArray

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
from experiments.study.options.config import StudyConfig
from experiments.study.options.groups import Stepped, Trained
from experiments.study.options.metrics import curve_metric
from experiments.study.storage.journal import Identity, label
from schedules.search import named_key

CENTRES: Mapping[str, float] = MappingProxyType(  # the middle of the learning rates of each optimizer
    {"sgd": 0.3, "momentum": 0.1, "adam": 0.01}
)
RUNGS = (8, 4, 2, 1)  # a run is measured at its horizon over these
POOL = 1437  # the training images that subsets and validation images are drawn from
MOST_RATES = 60  # each three times the one before; more leave the range of a float32

Rates = Annotated[int, at_least(1), at_most(MOST_RATES)]

Steps = Annotated[Count, Check(f"a multiple of {RUNGS[0]}", lambda num_steps: num_steps % RUNGS[0] == 0)]


@dataclass(frozen=True)
class Config(Stepped, Trained, StudyConfig):
    """What is studied."""

    widths: Annotated[tuple[Count, ...], entries(1), EACH_ONCE] = (4, 8, 16)
    """Hidden units of the networks."""
    optimizers: Annotated[tuple[str, ...], OneOf(CENTRES), entries(1), EACH_ONCE] = ("momentum", "adam")
    """What to train with: sgd, momentum, adam."""
    rates: Rates = 5
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


MEASURE, HALVE, FRESH = "measure", "halve", "fresh"
RATE_FACTOR = 3.0


class Candidate(NamedTuple):
    """A network's width, its optimizer, and the place of its learning rate, 0 in the middle."""

    width: int
    optimizer: str
    place: int

    @property
    def learning_rate(self) -> float:
        return CENTRES[self.optimizer] * RATE_FACTOR**self.place

    def __str__(self) -> str:
        return f"{self.optimizer} {self.learning_rate:.2g}, width {self.width}"


class Trial(NamedTuple):
    """One training run: a candidate on that many examples, with a replicate's keys."""

    stage: str
    candidate: Candidate
    train_size: int
    replicate: int

    @property
    def identity(self) -> Identity:
        """What makes this trial the same one in a resumed study."""
        width, optimizer, place = self.candidate
        return self.stage, f"{optimizer}/{width}", place, label(train_size=self.train_size), self.replicate

    @property
    def base_lr(self) -> float:
        return self.candidate.learning_rate

    @property
    def params(self) -> dict[str, float]:
        return {"width": self.candidate.width, "train_size": self.train_size}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for every candidate and train size of one replicate of one stage."""
        return named_key(root, self.stage, self.replicate)


def candidates(config: Config) -> list[Candidate]:
    """Every width with every optimizer and learning rate."""
    places = range(-(config.rates // 2), config.rates - config.rates // 2)
    return [Candidate(*chosen) for chosen in itertools.product(config.widths, config.optimizers, places)]


def trials(config: Config) -> list[Trial]:
    """All runs of the study."""
    measured = itertools.product([MEASURE], config.train_sizes, range(config.replicates))
    halved = itertools.product((HALVE, FRESH), [config.halving_size], range(config.halving_replicates))
    return [
        Trial(stage, candidate, train_size, replicate)
        for stage, train_size, replicate in (*measured, *halved)
        for candidate in candidates(config)
    ]
