"""How runs that share a trunk may end, and the trials of each end at each horizon and learning rate."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import NamedTuple

from jaxtyping import Array, Float, PRNGKeyArray

from experiments.cooldown.config import FORM, LENGTH, Config
from experiments.study.storage.journal import Identity, label
from schedules import Cooldown, branches
from schedules.search import named_key

SCREEN, WHOLE, CONFIRM, SCRATCH = "screen", "whole", "confirm", "scratch"
FROM_SCRATCH = (WHOLE, SCRATCH)  # whose runs share nothing, and have other seeds at every horizon
ALL = 1.0  # the length of a cooldown that begins where the warm-up ends

SEARCHED, CLAIMED, ONE_RATE = "best cooldown", "1-sqrt, a fifth", "at one rate"
COSINE, LINEAR, CONSECUTIVE = "cosine", "linear", "WSD-S"
AVERAGED, SCHEDULE_FREE = "averaged trunk", "schedule-free"

LAST_WEIGHTS: Mapping[str, float] = MappingProxyType({})  # no average is evaluated, or the study's own


class Course(NamedTuple):
    """A run's learning rates as multipliers of the peak, and after how many steps it leaves its trunk."""

    multipliers: Float[Array, "steps"]
    start: int


@dataclass(frozen=True)
class Cooled:
    """A cooldown whose length is a fraction of the horizon, at the end of a run made for it."""

    form: str
    length: float

    name = "cooldown"
    average = LAST_WEIGHTS

    def run_horizon(self, horizon: int, config: Config) -> int:
        """How long the run is that ends so at this horizon, or has it on its way."""
        return horizon

    def course(self, horizon: int, config: Config) -> Course:
        length = horizon - config.warmup if self.length == ALL else self.length
        shared = branches(config.trunk, [horizon], Cooldown(length, self.form))
        (branch,) = shared.branches
        return Course(shared.from_scratch(branch), branch.start)

    def __str__(self) -> str:
        return self.form if self.length == ALL else f"{self.form} {self.length:g}"


@dataclass(frozen=True)
class Consecutive:
    """A cooldown at every horizon of one run, which goes on from the cooled weights."""

    form: str
    length: float

    name = CONSECUTIVE
    average = LAST_WEIGHTS

    def run_horizon(self, horizon: int, config: Config) -> int:
        return config.longest

    def course(self, horizon: int, config: Config) -> Course:
        shared = branches(config.trunk, config.horizons, Cooldown(self.length, self.form))
        return Course(shared.consecutive(), shared.branches[0].start)

    def __str__(self) -> str:
        return f"{self.form} {self.length:g}"


class _Uncooled:
    """No cooldown: the trunk goes on, and an average of its weights is evaluated at every horizon."""

    @property
    def average(self) -> Mapping[str, float]:
        """The numbers that say which."""
        return asdict(self)

    def run_horizon(self, horizon: int, config: Config) -> int:
        return config.longest

    def course(self, horizon: int, config: Config) -> Course:
        return Course(config.trunk.multipliers(config.longest), config.longest)


@dataclass(frozen=True)
class Averaged(_Uncooled):
    """The average forgets: it is exponential."""

    average_decay: float

    name = AVERAGED

    def __str__(self) -> str:
        return f"decay {self.average_decay:g}"


@dataclass(frozen=True)
class ScheduleFree(_Uncooled):
    """The average is that of all steps, which are schedule-free: gradients are taken near it."""

    beta: float

    name = SCHEDULE_FREE

    def __str__(self) -> str:
        return f"β {self.beta:g}"


Ending = Cooled | Consecutive | Averaged | ScheduleFree


class Setting(NamedTuple):
    """An ending at a horizon, after the trunk of a learning rate, told by its place among all of them."""

    ending: Ending
    horizon: int
    place: int

    def run(self, config: Config) -> "Setting":
        """That of the run which has this one on its way, or at its end."""
        return self._replace(horizon=self.ending.run_horizon(self.horizon, config))


class Trial(NamedTuple):
    """One training run: the setting at its end, the learning rate, and a replicate's keys."""

    stage: str
    setting: Setting
    base_lr: float
    replicate: int

    @property
    def identity(self) -> Identity:
        """What makes this trial the same one in a resumed study."""
        ending, horizon, place = self.setting
        return self.stage, ending.name, place, label(horizon=horizon, **self.params), self.replicate

    @property
    def params(self) -> dict[str, float | str]:
        return asdict(self.setting.ending)

    @property
    def seed(self) -> tuple[str | int, ...]:
        """What its key is called by: the same for all that share a trunk and for all learning rates."""
        horizon = (self.setting.horizon,) if self.stage in FROM_SCRATCH else ()
        return self.stage, *horizon, self.replicate

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        return named_key(root, *self.seed)


def cooldowns(config: Config) -> list[Cooled]:
    """All forms in all lengths."""
    return [Cooled(form, length) for form in config.all_forms for length in config.all_lengths]


def contestants(config: Config) -> dict[str, Sequence[Ending]]:
    """By the name of what is compared, the endings among which it is tuned."""
    return {
        SEARCHED: cooldowns(config),
        CLAIMED: [Cooled(FORM, LENGTH)],
        COSINE: [Cooled("cosine", ALL)],
        LINEAR: [Cooled("linear", ALL)],
        CONSECUTIVE: [Consecutive(FORM, LENGTH)],
        AVERAGED: [Averaged(decay) for decay in config.average_decays],
        SCHEDULE_FREE: [ScheduleFree(beta) for beta in config.schedule_free_betas],
    }


class Steps(NamedTuple):
    """How many steps the same takes through the branches of one trunk, and through whole runs."""

    by_branches: int
    by_whole_runs: int

    @property
    def share(self) -> float:
        return self.by_branches / self.by_whole_runs


def horizon_steps(length: float, config: Config) -> Steps:
    """A run for every horizon."""
    shared = branches(config.trunk, config.horizons, Cooldown(length))
    return Steps(shared.num_steps, sum(config.horizons))


def search_steps(horizon: int, config: Config) -> Steps:
    """The search of form and length at a horizon, with all its learning rates and seeds."""
    lengths = [Cooldown(length).steps(horizon) for length in config.all_lengths]
    forms, trunks = len(config.all_forms), len(config.learning_rates) * config.screen_replicates
    by_branches = horizon - min(lengths) + forms * sum(lengths)
    return Steps(trunks * by_branches, trunks * forms * len(lengths) * horizon)
