"""What a number of runs is spent on, and the whole search over the curves of all families."""

import functools
import math
from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules.search import CurveBudget, SearchSpace, search_curves
from schedules.search.pool import curves_at
from tests.schedules.landscapes import NUM_STEPS, RATES, Bowl, Journal, spaces

pytestmark = pytest.mark.usefixtures("one_thread")
SPACES = list(spaces("linear", "wsd").values())
KEY = jax.random.key(0)
BOWL = Bowl(best=curves_at(SPACES[1], np.array([[0.2, 0.3, 0.5, 0.6]], np.float32), NUM_STEPS)[0])


def selected(budget):
    """Runs of the selection, which only chooses between two candidates or more."""
    return budget.confirmed * budget.top * budget.select_replicates if budget.top > 1 else 0


@given(st.integers(24, 10_000), st.integers(1, 40), st.integers(2, 64))
def test_all_runs_are_spent_and_no_more(runs, families, batch):
    budget = CurveBudget(runs, families, NUM_STEPS, batch)
    exploration = budget.exploration
    refined = exploration.rounds * exploration.top * families
    assert exploration.runs + refined == budget.explored
    confirmed = budget.confirmed * budget.confirm_replicates
    assert budget.explored + selected(budget) + confirmed + budget.checks == runs
    assert min(exploration.runs, confirmed, budget.top, budget.select_replicates) >= 1
    assert budget.checks >= 0
    assert 2 * exploration.runs >= budget.explored >= 0.3 * runs - 1
    assert min(families, 2) <= budget.confirmed <= families


@given(st.integers(24, 10_000), st.integers(1, 40))
def test_a_comparison_is_between_enough_seeds(runs, families):
    budget = CurveBudget(runs, families, NUM_STEPS)
    if budget.top > 1:
        assert budget.select_replicates >= 5
    assert budget.confirm_replicates >= min(8, (runs - budget.explored) // 3)
    assert budget.confirm_replicates <= 100


@pytest.mark.parametrize(
    ("name", "value", "least"), [("runs", 23, 24), ("families", 0, 1), ("num_steps", 0, 1), ("batch", 1, 2)]
)
def test_a_budget_that_buys_nothing_is_refused(name, value, least):
    with pytest.raises(ValueError, match=f"{name} must be at least {least}, got {value}"):
        CurveBudget(**{"runs": 100, "families": 2, "num_steps": NUM_STEPS, name: value})


def conclude(journal, budget, baselines=("linear",), fields=SPACES):
    found = search_curves(fields, baselines, budget, KEY, journal.evaluate, journal.once)
    return found.findings, found.verdict


@functools.cache
def concluded(runs):
    budget, journal = CurveBudget(runs, len(SPACES), NUM_STEPS), Journal(BOWL.evaluate)
    return budget, journal, *conclude(journal, budget)


@pytest.mark.parametrize("runs", [24, 61, 120])
def test_as_many_runs_are_made_as_the_budget_says(runs):
    budget, journal, findings, _ = concluded(runs)
    made = Counter(trial.stage.split()[0] for trial in journal.trials)
    assert made["screen"] == budget.explored
    assert made["select"] == selected(budget)
    assert made["confirm"] == budget.confirmed * budget.confirm_replicates
    assert made["challenge"] + made["check"] <= budget.checks
    assert len(findings.winners) == budget.confirmed
    if budget.checks >= 16:  # runs that a round needs
        assert made["challenge"] + made["check"] > 0.7 * budget.checks


@pytest.mark.parametrize("runs", [24, 120])
def test_no_run_has_anothers_identity(runs):
    _, journal, *_ = concluded(runs)
    identities = [trial.identity for trial in journal.trials]
    assert len(set(identities)) == len(identities)


def test_winners_are_told_by_fresh_seeds_alone():
    budget, journal, findings, verdict = concluded(120)
    for name, winner in findings.winners.items():
        confirming = [
            journal.scores[trial.identity][2]
            for trial in journal.trials
            if trial.stage == "confirm" and trial.candidate is winner.candidate
        ]
        assert winner.scores.tolist() == confirming
        assert len(confirming) == budget.confirm_replicates
        assert winner.candidate.family.name == name
    medians = {name: np.median(winner.scores) for name, winner in findings.winners.items()}
    assert verdict.winner is findings.winners[min(medians, key=medians.get)]
    assert sum(len(group) for group in findings.screened.values()) == budget.explored


def test_the_best_winner_is_near_the_best_curve():
    _, _, _, verdict = concluded(120)
    assert BOWL.truth(verdict.winner.candidate) < math.log(1.1)


def test_a_search_that_is_gone_through_again_runs_nothing_and_says_the_same():
    budget, journal, findings, verdict = concluded(61)
    made = len(journal.trials)
    again, same = conclude(journal, budget)
    assert len(journal.trials) == made
    assert (str(same), same.delta, same.own.change) == (str(verdict), verdict.delta, verdict.own.change)
    for name, winner in again.winners.items():
        assert winner.candidate.proposal == findings.winners[name].candidate.proposal
        np.testing.assert_array_equal(winner.scores, findings.winners[name].scores)


def test_the_baseline_is_confirmed_though_none_of_its_candidates_ran():
    fields = list(spaces("linear", "wsd", "two_point_linear").values())  # the last has too many parameters
    journal = Journal(lambda trials: dict.fromkeys(trials, math.inf))
    findings, verdict = conclude(
        journal, CurveBudget(24, 3, NUM_STEPS), baselines=("two_point_linear",), fields=fields
    )
    assert not findings.screened["two_point_linear"]
    assert "two_point_linear" in findings.winners
    assert len(findings.winners) == 3  # a winner beside two baselines, were there two
    assert not verdict.improved
    assert math.isinf(verdict.delta)


def test_families_of_one_name_are_refused():
    twice = [SPACES[0], SearchSpace(SPACES[0].family, RATES)]
    with pytest.raises(ValueError, match="different names"):
        conclude(Journal(BOWL.evaluate), CurveBudget(24, 2, NUM_STEPS), fields=twice)


def test_a_baseline_that_is_not_searched_is_refused():
    with pytest.raises(ValueError, match=r"baselines must be among .*'cosine'"):
        conclude(Journal(BOWL.evaluate), CurveBudget(24, 2, NUM_STEPS), baselines=("cosine",))
