"""Tuning at an equal budget: what to run, and what was found. Pure but for `evaluate`."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from experiments.study.options.checks import EACH_ONCE, BelowOne, Checked, Count, at_least, at_most, entries
from experiments.study.options.config import Group
from experiments.study.storage.journal import Identity, Tally, label
from schedules.search import named_key

SCREEN, CONFIRM = "screen", "confirm"

ConfigT, ContestantT, OutcomeT = TypeVar("ConfigT"), TypeVar("ContestantT"), TypeVar("OutcomeT")

MIN_RATES = 3  # a best rate needs one on either side
MOST_RATES = 60  # further doublings leave the range of a float32

FirstRates = Annotated[int, at_least(MIN_RATES), at_most(MOST_RATES)]
MoreRates = Annotated[int, at_least(0), at_most(MOST_RATES)]
Decays = Annotated[tuple[BelowOne, ...], entries(1), EACH_ONCE]


@dataclass(frozen=True)
class RateBudget(Checked):
    """What tuning a learning rate takes, the same for everything that is compared: a group of a study's
    options.

    Raises StudyError for too few or too many of anything.
    """

    group: ClassVar[Group] = "search"

    first_rates: FirstRates = 5
    """Learning rates that each is first tried with, each twice the one before."""
    more_rates: MoreRates = 4
    """Further ones, each placed by the scores so far: beyond an edge, or halfway beside the best."""
    screen_replicates: Count = 3
    """Seeds for each setting that is tried."""
    confirm_replicates: Count = 30
    """Fresh seeds that score each at its best; only these scores are reported."""

    @property
    def tuned_decays(self) -> tuple[float | None, ...]:
        """The decays that are tried at every rate; None alone where none is tuned."""
        return (None,)

    @property
    def runs_per_rate(self) -> int:
        return len(self.tuned_decays) * self.screen_replicates

    @property
    def tuning_runs(self) -> int:
        """Runs that choose a setting; those that confirm it come on top."""
        return (self.first_rates + self.more_rates) * self.runs_per_rate

    @property
    def planned_runs(self) -> int:
        """Those of a config whose `contestants` are all tuned."""
        return len(self.contestants) * (self.tuning_runs + self.confirm_replicates)

    @property
    def chunk_runs(self) -> int:
        """The most runs that are asked for at once."""
        return max(self.first_rates * self.runs_per_rate, self.confirm_replicates)


@dataclass(frozen=True)
class Budget(RateBudget):
    """What tuning a learning rate and a decay takes. Raises StudyError for a decay outside [0, 1) too."""

    decays: Decays = (0.0, 1e-4, 1e-3)
    """Fractions of a weight that a step at the peak learning rate removes, tried at every rate."""

    @property
    def tuned_decays(self) -> tuple[float | None, ...]:
        return self.decays


class Contestant(Protocol):
    """What is tuned, such as an optimizer: hashable.

    Attributes:
      name: the group of its runs in the journal.
      numbers: those of its runs, beside the learning rate and the decay.
    """

    @property
    def name(self) -> str: ...

    @property
    def numbers(self) -> Mapping[str, float]: ...


class Named(NamedTuple):
    """A contestant without numbers."""

    name: str

    @property
    def numbers(self) -> Mapping[str, float]:
        return {}


class Setting(NamedTuple):
    """A learning rate, and a decay where one is tuned.

    Attributes:
      half_doublings: where the learning rate lies, in factors of √2 from the central one.
      learning_rate: the same as a number.
      decay: the fraction of a weight that a step at the peak learning rate removes.
    """

    half_doublings: int
    learning_rate: float
    decay: float | None = None

    @property
    def params(self) -> dict[str, float]:
        return {} if self.decay is None else {"decay": self.decay}

    @property
    def numbers(self) -> dict[str, float]:
        """Those of a run with it."""
        return {"learning_rate": self.learning_rate, **self.params}


class Trial(NamedTuple):
    """One training run: a contestant in a setting, with a replicate's keys."""

    stage: str
    contestant: Contestant
    setting: Setting
    decay_number: int
    replicate: int

    @property
    def identity(self) -> Identity:
        """What makes this trial the same one in a resumed study."""
        place = label(half_doublings=self.setting.half_doublings, **self.setting.params)
        return self.stage, self.contestant.name, self.decay_number, place, self.replicate

    @property
    def base_lr(self) -> float:
        return self.setting.learning_rate

    @property
    def params(self) -> dict[str, float]:
        return {**self.contestant.numbers, **self.setting.params}

    @property
    def numbers(self) -> dict[str, float]:
        """Those of its row."""
        return {**self.contestant.numbers, **self.setting.numbers}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for all contestants and settings of one replicate of one stage."""
        return named_key(root, self.stage, self.replicate)


class Tuned(NamedTuple):
    """What was tuned, at its best.

    Attributes:
      setting: the best by the median of the screening.
      bracketed: whether learning rates were tried on both sides of it; False where all scored +inf.
      screened: the median score of every setting tried.
      scores: those of the confirming runs, by replicate; diverged ones +inf.
    """

    setting: Setting
    bracketed: bool
    screened: Mapping[Setting, float]
    scores: Float[np.ndarray, "replicates"]

    @property
    def chosen_by(self) -> float:
        """The median score by which the setting was chosen; +inf where all diverged."""
        return self.screened[self.setting]

    def curve(self, decay: float | None) -> list[tuple[float, float]]:
        """The learning rates tried with a decay, ascending, each with its median score."""
        return sorted(
            (setting.learning_rate, v) for setting, v in self.screened.items() if setting.decay == decay
        )


class Outcomes(NamedTuple, Generic[ConfigT, ContestantT, OutcomeT]):
    """A finished study of contestants.

    Attributes:
      config: what was compared.
      outcomes: what became of all contestants.
      tally: how many runs there were.
    """

    config: ConfigT
    outcomes: Mapping[ContestantT, OutcomeT]
    tally: Tally


Evaluate = Callable[[Sequence[Trial]], Mapping[Trial, float]]


def setting_at(half_doublings: int, centre: float, decay: float | None = None) -> Setting:
    """The setting of that place around a centre."""
    return Setting(half_doublings, centre * 2 ** (half_doublings / 2), decay)


def tune(contestant: Contestant, centre: float, budget: RateBudget, evaluate: Evaluate) -> Tuned:
    """Spend the budget on a contestant, and score its best setting with fresh seeds.

    Args:
      contestant: what is tuned.
      centre: the middle of the learning rates tried first.
      budget: see `RateBudget` and `Budget`.
      evaluate: trials → the score of each, +inf where it diverged.
    """
    screen = functools.partial(_screen, contestant, centre, budget, evaluate)
    half = budget.first_rates // 2
    screened = screen([2 * (k - half) for k in range(budget.first_rates)])
    for _ in range(budget.more_rates):
        screened |= screen([next_place(best_by_place(screened))])
    best = min(screened, key=screened.__getitem__)
    tried = [setting.half_doublings for setting in screened]
    return Tuned(
        best,
        min(tried) < best.half_doublings < max(tried) and bool(np.isfinite(screened[best])),
        screened,
        confirmed(contestant, best, budget, evaluate),
    )


def confirmed(
    contestant: Contestant, setting: Setting, budget: RateBudget, evaluate: Evaluate
) -> Float[np.ndarray, "replicates"]:
    """The scores of the fresh seeds, which all contestants share, in a setting: the best, or another's."""
    decay_number = budget.tuned_decays.index(setting.decay)
    trials = _trials(CONFIRM, contestant, setting, decay_number, budget.confirm_replicates)
    scores = evaluate(trials)
    return np.array([scores[trial] for trial in trials])


def best_by_place(screened: Mapping[Setting, float]) -> dict[int, float]:
    """The best median over decays at each learning rate."""
    places = sorted({setting.half_doublings for setting in screened})
    return {p: min(score for s, score in screened.items() if s.half_doublings == p) for p in places}


def next_place(scores: Mapping[int, float]) -> int:
    """The learning rate to try next, given the score at each place tried so far.

    A doubling beyond the edge while the best lies on it; else halfway towards the better neighbour of the
    best, then towards the other, and then next to the next best, until an untried place is found.

    >>> next_place({-2: 0.5, 0: 0.4, 2: 0.3})
    4
    >>> next_place({-2: 0.5, 0: 0.3, 2: 0.4})
    1
    """
    ranked = sorted(scores, key=scores.__getitem__)
    best = ranked[0]
    if best == max(scores):
        return best + 2
    if best == min(scores):
        return best - 2
    for place, side in itertools.product(ranked, (1, -1)):
        nearer = side if scores.get(place + 2, np.inf) <= scores.get(place - 2, np.inf) else -side
        if place + nearer not in scores:
            return place + nearer
    raise AssertionError("a place beyond the largest is always untried")


def _screen(
    contestant: Contestant, centre: float, budget: RateBudget, evaluate: Evaluate, places: Sequence[int]
) -> dict[Setting, float]:
    settings = {
        setting_at(place, centre, decay): number
        for place in places
        for number, decay in enumerate(budget.tuned_decays)
    }
    trials = {
        s: _trials(SCREEN, contestant, s, number, budget.screen_replicates) for s, number in settings.items()
    }
    scores = evaluate([trial for of_setting in trials.values() for trial in of_setting])
    return {s: float(np.median([scores[t] for t in of_setting])) for s, of_setting in trials.items()}


def _trials(
    stage: str, contestant: Contestant, setting: Setting, decay_number: int, replicates: int
) -> list[Trial]:
    return [Trial(stage, contestant, setting, decay_number, replicate) for replicate in range(replicates)]
