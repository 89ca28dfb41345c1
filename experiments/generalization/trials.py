"""The runs of the study: what is tried, and which run is which."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from jaxtyping import PRNGKeyArray

from experiments.generalization.config import CENTRES, RATE_FACTOR, Config
from schedules.search import named_key

MEASURE, HALVE, FRESH = "measure", "halve", "fresh"


class Setting(NamedTuple):
    """A candidate: a network's width, its optimizer, and the place of its learning rate, 0 in the middle."""

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
    setting: Setting
    train_size: int
    replicate: int

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """What makes this trial the same one in a resumed study."""
        setting = self.setting
        family = f"{setting.optimizer}/{setting.width}"
        return self.stage, family, self.train_size, setting.place, self.replicate

    @property
    def base_lr(self) -> float:
        return self.setting.learning_rate

    @property
    def params(self) -> dict[str, float]:
        return {"width": self.setting.width, "train_size": self.train_size}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for every candidate and train size of one replicate of one stage."""
        return named_key(root, self.stage, self.replicate)


def candidates(config: Config) -> list[Setting]:
    """Every width with every optimizer and learning rate."""
    places = range(-(config.rates // 2), config.rates - config.rates // 2)
    return [Setting(*chosen) for chosen in itertools.product(config.widths, config.optimizers, places)]


def trials(config: Config) -> list[Trial]:
    """All runs of the study."""
    measured = itertools.product([MEASURE], config.train_sizes, range(config.replicates))
    halved = itertools.product((HALVE, FRESH), [config.halving_size], range(config.halving_replicates))
    return [
        Trial(stage, setting, train_size, replicate)
        for stage, train_size, replicate in (*measured, *halved)
        for setting in candidates(config)
    ]


def groups(config: Config) -> Iterator[list[Trial]]:
    """The runs of each stage, width and optimizer: those that one compiled program serves."""

    def group(trial: Trial) -> tuple[str, int, str]:
        return trial.stage, trial.setting.width, trial.setting.optimizer

    for _, members in itertools.groupby(sorted(trials(config), key=group), key=group):
        yield list(members)
