"""A search that is gone through again reads what it decided, and asks for the very runs that it made."""

import dataclasses
import json
import math
import zlib

import jax
import numpy as np
import pytest

from schedules import FAMILIES, Interval
from schedules.search import (
    STRATEGIES,
    Budget,
    CheckBudget,
    Race,
    Rung,
    SearchSpace,
    check_winners,
    near_optimality,
    search_shapes,
)

SPACES = [SearchSpace(FAMILIES[name], Interval(1e-2, 1.0, log=True)) for name in ("rex", "two_point_linear")]
BUDGET = Budget(8, 4, Race((Rung(1, 5), Rung(2, 10))), top=2, select_replicates=2, confirm_replicates=3)
CHECK = CheckBudget(num_steps=10, replicates=2, rounds=2, challenge_replicates=8, check_replicates=8)


class Runs:
    """What was run and decided, as a journal holds it: scores by identity, decisions as JSON."""

    def __init__(self):
        self.scores, self.decided = {}, {}

    def evaluate(self, trials):
        """A smooth score of the candidate, times luck of its own."""
        for trial in trials:
            luck = np.random.default_rng(zlib.crc32(repr(trial.identity).encode())).normal()
            shape = sum((value - 0.4) ** 2 for value in trial.params.values())
            score = (1 + shape + math.log(trial.base_lr / 0.1) ** 2) * math.exp(0.1 * luck)
            asked = (dict(trial.params), trial.base_lr)
            assert self.scores.setdefault(trial.identity, (score, asked))[1] == asked
        return {trial: self.scores[trial.identity][0] for trial in trials}

    def once(self, name, make):
        if name not in self.decided:
            self.decided[name] = json.dumps(make())
        return json.loads(self.decided[name])


def conclude(runs):
    """Everything that a search and the check of its winners say."""
    key = jax.random.key(0)
    found = search_shapes(SPACES, STRATEGIES["trust_region"], BUDGET, key, runs.evaluate, runs.once)
    spaces = {space.family.name: space for space in SPACES}
    verdicts = check_winners(found.winners, spaces, CHECK, key, runs.evaluate, runs.once)
    return [
        [(name, won.candidate.proposal, won.scores.tolist()) for name, won in found.winners.items()],
        [(str(v), v.delta, v.best.found.proposal, v.best.change) for v in verdicts.values()],
        [sweep.changes.tolist() for verdict in verdicts.values() for sweep in verdict.sweeps],
    ]


@pytest.mark.usefixtures("another_processor")
def test_what_another_processor_computes_otherwise_changes_nothing(first):
    runs, expected = first
    number = len(runs.scores)
    assert conclude(runs) == expected
    assert len(runs.scores) == number


@pytest.fixture
def first():
    """Before anything is computed otherwise."""
    runs = Runs()
    return runs, conclude(runs)


@pytest.fixture
def another_processor(first, monkeypatch):
    """Whatever is proposed or bounded differs in its last digits, and no strategy repeats itself."""

    def otherwise(trial):
        params = {name: value * (1 - 1e-6) for name, value in trial.params.items()}
        return dataclasses.replace(trial, params=params, base_lr=trial.base_lr * (1 - 1e-6))

    candidates, free_start = SearchSpace.candidates, near_optimality.free_start
    remaining, points = near_optimality.remaining_improvement, near_optimality.sweep_points
    monkeypatch.setattr(SearchSpace, "candidates", lambda *a: tuple(map(otherwise, candidates(*a))))
    monkeypatch.setattr(near_optimality, "free_start", lambda winner: otherwise(free_start(winner)))
    monkeypatch.setattr(near_optimality, "remaining_improvement", lambda *a: 1.01 * remaining(*a))
    monkeypatch.setattr(near_optimality, "sweep_points", lambda *a: points(*a) * (1 - 1e-6))
