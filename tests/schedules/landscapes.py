"""Simulated training whose best curve is known."""

import json
import math
import zlib
from typing import NamedTuple

import numpy as np

from schedules import FAMILIES, Interval
from schedules.search import SearchSpace, Trial

RATES = Interval(1e-2, 1.0, log=True)
NUM_STEPS = 20


def spaces(*names):
    return {name: SearchSpace(FAMILIES[name], RATES) for name in names}


def logarithms(rates):
    """Of the mean over each tenth of the steps; a rate far below the others is as good as none."""
    return np.log(np.asarray(rates, float).reshape(10, -1).mean(axis=1) + 2e-3)


def luck(*names):
    """A standard normal number, the same for the same names."""
    return np.random.default_rng(zlib.crc32(repr(names).encode())).normal()


class Bowl(NamedTuple):
    """The level of a run: that of `best` is 0, and others' grow with the squared distance of the logarithms.

    A seed's luck is common to all runs that share its stage and replicate. The score is 0.1·e^level, or the
    level itself less 1 where it may be negative.
    """

    best: np.ndarray
    steepness: float = 0.1
    seed: float = 0.1
    noise: float = 0.05
    name: int = 0
    positive: bool = True

    def level(self, rates):
        return self.steepness * np.sum((logarithms(rates) - logarithms(self.best)) ** 2)

    def truth(self, candidate):
        """Its level with a typical seed."""
        return self.level(Trial("truth", candidate, NUM_STEPS, 0).learning_rates)

    def score(self, level):
        return 0.1 * math.exp(level) if self.positive else level - 1.0

    def evaluate(self, trials):
        return {
            trial: self.score(
                self.level(trial.learning_rates)
                + self.seed * luck(self.name, trial.stage, trial.replicate)
                + self.noise * luck(self.name, trial.identity)
            )
            for trial in reversed(trials)
        }


class Journal:
    """What was run and decided: each run once, and none of an identity with another's curve."""

    def __init__(self, evaluate):
        self.score, self.scores, self.decided, self.trials = evaluate, {}, {}, []

    def evaluate(self, trials):
        asked = {}
        for trial in trials:
            assert trial.identity not in asked, f"asked twice: {trial.identity}"
            asked[trial.identity] = trial
        new = [trial for identity, trial in asked.items() if identity not in self.scores]
        self.trials += new
        for trial, score in self.score(new).items():
            self.scores[trial.identity] = (trial.params, trial.base_lr, score)
        for identity, trial in asked.items():
            assert self.scores[identity][:2] == (trial.params, trial.base_lr)
        return {trial: self.scores[trial.identity][2] for trial in reversed(trials)}

    def once(self, name, make):
        if name not in self.decided:
            self.decided[name] = json.dumps(make())
        return json.loads(self.decided[name])
