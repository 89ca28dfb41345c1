"""The search whose runs come back in any order, on landscapes whose best curve is known."""

import functools
import json
import math
import random

import jax
import numpy as np
import pytest

from schedules.search import asynchronous
from schedules.search.asynchronous import History, RunBudget, _believing, model_of_runs, next_step
from schedules.search.curves import Exploration, explore
from tests.schedules.landscapes import NUM_STEPS, spaces
from tests.schedules.test_curves import BOWL

pytestmark = pytest.mark.usefixtures("one_thread")
SPACES = spaces("linear", "wsd")
KEY = jax.random.key(0)
BUDGET = RunBudget(runs=80, num_steps=NUM_STEPS)


class Jobs:
    """Trials given out and told one by one, with what was decided on the way."""

    def __init__(self, evaluate=BOWL.evaluate, budget=BUDGET):
        self.evaluate, self.budget = evaluate, budget
        self.asked, self.told, self.decided, self.queue, self.outcome = [], {}, {}, [], None

    def once(self, name, make):
        if name not in self.decided:
            self.decided[name] = json.dumps(make())
        return json.loads(self.decided[name])

    def ask(self):
        """The next trial; None where all that was asked is to be told first, or the search is finished."""
        if not self.queue and self.outcome is None:
            history = History(self.asked, self.told, np.empty((0, NUM_STEPS)), np.empty(0))
            trials, self.outcome = next_step(SPACES, self.budget, KEY, history, self.once)
            self.asked += trials
            self.queue += trials
        return self.queue.pop(0) if self.queue else None

    def tell(self, trial):
        assert trial.identity not in self.told
        self.told[trial.identity] = self.evaluate([trial])[trial]
        return trial


def finished(workers, order=None, **options):
    """A whole search by so many workers, who are told in a random order."""
    jobs, running = Jobs(**options), []
    moments = random.Random(order)
    while jobs.outcome is None:
        while len(running) < workers and (trial := jobs.ask()):
            running.append(trial)
        if running:
            jobs.tell(running.pop(moments.randrange(len(running))))
    return jobs


@functools.cache
def searched(workers=5):
    return finished(workers, order=1)


def described(trials):
    return [(trial.identity, trial.params, trial.base_lr) for trial in trials]


def test_told_block_by_block_it_explores_as_the_synchronous_search():
    jobs = Jobs()
    explored = [jobs.tell(jobs.ask()) for _ in range(BUDGET.explored)]
    limits = Exploration(runs=48, batch=8, rounds=0, top=1, num_steps=NUM_STEPS)
    assert described(explored) == described(explore(SPACES, limits, KEY, BOWL.evaluate))


def test_no_trial_is_asked_for_twice_and_all_of_the_budget_is_spent():
    jobs = searched()
    identities = [trial.identity for trial in jobs.asked]
    assert len(set(identities)) == len(identities) == BUDGET.runs
    curves = {trial.learning_rates.tobytes() for trial in jobs.asked if trial.stage == "screen"}
    assert len(curves) == BUDGET.explored


def test_finalists_have_the_same_fresh_seeds_one_after_the_other():
    confirmed = [trial for trial in searched().asked if trial.stage == "confirm"]
    seeds = [trial.replicate for trial in confirmed]
    assert seeds == sorted(list(range(BUDGET.replicates)) * BUDGET.finalists)
    assert len({trial.candidate for trial in confirmed}) == BUDGET.finalists


def test_the_winner_is_the_finalist_of_the_lowest_median_and_near_the_best_curve():
    jobs = searched()
    winner = jobs.outcome.finalists[0]
    by_candidate = {}
    for trial in jobs.asked:
        if trial.stage == "confirm":
            by_candidate.setdefault(trial.candidate, []).append(jobs.told[trial.identity])
    medians = {candidate: np.median(scores) for candidate, scores in by_candidate.items()}
    assert medians[winner.candidate] == min(medians.values())
    assert sorted(winner.scores) == sorted(by_candidate[winner.candidate])
    assert BOWL.truth(winner.candidate) < math.log(1.05)  # the scores' own luck is 11 %
    assert 0 < jobs.outcome.verdict.delta < 1


def test_believing_leaves_every_mean_and_is_surer_where_runs_are_pending():
    """A Gaussian process that is told its own mean expects what it did, whatever its parameters."""
    trials = [trial for trial in searched().asked if trial.stage == "screen"]
    told = {trial.identity: searched().told[trial.identity] for trial in trials[:32]}
    model = model_of_runs(History(trials[:40], told, np.empty((0, NUM_STEPS)), np.empty(0)))
    believing = _believing(model, trials[32:40])
    curves = np.stack([trial.learning_rates for trial in trials])
    (means, deviations), (believed, surer) = model.predict(curves), believing.predict(curves)
    assert np.allclose(believed, means, rtol=1e-5)
    assert np.all(surer[32:40] < 0.95 * deviations[32:40])
    assert np.all(surer <= deviations * (1 + 1e-6))


def test_pending_runs_keep_the_next_block_away():
    """Of two blocks in flight, the second one's curves are other ones, and none of those that are pending."""
    jobs = Jobs()
    while len(jobs.asked) <= 16:
        jobs.tell(jobs.ask())
    pending = [jobs.asked[-1], *jobs.queue]
    jobs.queue.clear()
    trial = jobs.ask()
    block = [trial, *jobs.queue]
    assert {t.replicate for t in block} == {t.replicate + 1 for t in pending}
    assert not {t.learning_rates.tobytes() for t in block} & {t.learning_rates.tobytes() for t in pending}


def test_a_large_budget_challenges_the_winner(monkeypatch):
    monkeypatch.setattr(asynchronous, "CHALLENGED", 40)
    jobs, trial = Jobs(budget=RunBudget(runs=120, num_steps=NUM_STEPS)), None
    while trial is None or trial.stage != "check":
        trial = jobs.tell(jobs.ask())
    challengers = [trial for trial in jobs.asked if trial.stage == "challenge 0"]
    seeds = [trial.replicate for trial in challengers]
    assert seeds == sorted(seeds)
    assert len(jobs.asked) <= 120


def test_where_all_diverge_it_comes_to_an_end():
    jobs = finished(workers=3, evaluate=lambda trials: dict.fromkeys(trials, math.inf))
    assert math.isinf(np.median(jobs.outcome.finalists[0].scores))
    assert math.isinf(jobs.outcome.verdict.delta)
