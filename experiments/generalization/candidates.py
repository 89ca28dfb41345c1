"""What is tried, and the runs that try it."""

import itertools
from typing import NamedTuple

from jaxtyping import PRNGKeyArray

from experiments.generalization.config import CENTRES, Config
from experiments.study.storage.journal import Identity, label
from schedules.search import named_key

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
