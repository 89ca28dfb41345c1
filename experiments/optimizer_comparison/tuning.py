"""The tuning of optimizers at an equal budget: what to run, and what was found. Pure but for `evaluate`."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from experiments.optimizer_comparison.config import CONTENDERS, Config
from schedules.search import named_key

SCREEN, CONFIRM = "screen", "confirm"


class Setting(NamedTuple):
    """A learning rate and a decay of an optimizer.

    Attributes:
      optimizer: its name.
      half_doublings: where the learning rate lies, in factors of √2 from the optimizer's central one.
      decay: the fraction of a weight that a step at the peak learning rate removes.
    """

    optimizer: str
    half_doublings: int
    decay: float

    @property
    def learning_rate(self) -> float:
        return CONTENDERS[self.optimizer] * 2 ** (self.half_doublings / 2)


class Trial(NamedTuple):
    """One training run: a setting, with a replicate's keys."""

    stage: str
    setting: Setting
    decay_number: int
    replicate: int

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """What makes this trial the same one in a resumed study."""
        setting = self.setting
        return self.stage, setting.optimizer, self.decay_number, setting.half_doublings, self.replicate

    @property
    def base_lr(self) -> float:
        return self.setting.learning_rate

    @property
    def params(self) -> dict[str, float]:
        return {"decay": self.setting.decay}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for every optimizer and setting of one replicate of one stage."""
        return named_key(root, self.stage, self.replicate)


class Tuned(NamedTuple):
    """An optimizer at its best.

    Attributes:
      setting: the best by the median of the screening.
      bracketed: whether learning rates were tried on both sides of it.
      screened: the median score of every setting tried.
      scores: those of the confirming runs, by replicate; diverged ones +inf.
    """

    setting: Setting
    bracketed: bool
    screened: Mapping[Setting, float]
    scores: Float[np.ndarray, "replicates"]


Evaluate = Callable[[Sequence[Trial]], Mapping[Trial, float]]


def tune(optimizer: str, config: Config, evaluate: Evaluate) -> Tuned:
    """Spend the budget on an optimizer, and score its best setting with fresh seeds."""
    half = config.first_rates // 2
    places = [2 * (k - half) for k in range(config.first_rates)]
    screened = _screen(optimizer, places, config, evaluate)
    for _ in range(config.more_rates):
        screened |= _screen(optimizer, [next_place(best_by_place(screened))], config, evaluate)
    best = min(screened, key=screened.__getitem__)
    tried = [setting.half_doublings for setting in screened]
    trials = _trials(CONFIRM, best, config.decays.index(best.decay), config.confirm_replicates)
    scores = evaluate(trials)
    return Tuned(
        best,
        min(tried) < best.half_doublings < max(tried),
        screened,
        np.array([scores[trial] for trial in trials]),
    )


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
    optimizer: str, places: Sequence[int], config: Config, evaluate: Evaluate
) -> dict[Setting, float]:
    settings = {
        Setting(optimizer, place, decay): number
        for place in places
        for number, decay in enumerate(config.decays)
    }
    trials = {s: _trials(SCREEN, s, number, config.screen_replicates) for s, number in settings.items()}
    scores = evaluate([trial for of_setting in trials.values() for trial in of_setting])
    return {s: float(np.median([scores[t] for t in of_setting])) for s, of_setting in trials.items()}


def _trials(stage: str, setting: Setting, decay_number: int, replicates: int) -> list[Trial]:
    return [Trial(stage, setting, decay_number, replicate) for replicate in range(replicates)]
