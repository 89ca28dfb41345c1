"""The whole search on synthetic scores whose best shape and rate are known."""

import itertools
import math
from collections import Counter

import jax
import numpy as np
import pytest

from schedules import FAMILIES, Interval
from schedules.search import STRATEGIES, Budget, Race, Rung, SearchSpace, Trial, confirm, search_shapes

BUDGET = Budget(
    candidates=32, batch=4, race=Race((Rung(3, 10),)), top=4, select_replicates=5, confirm_replicates=7
)
HALVING = Race((Rung(1, 5), Rung(3, 10)))
RATES = Interval(0.01, 0.08, log=True)
REX, LINEAR = (SearchSpace(FAMILIES[name], RATES) for name in ("rex", "linear"))


EVERY_STRATEGY_AND_RACE = pytest.mark.parametrize(
    ("strategy", "race"), [("sobol", BUDGET.race), *((strategy, HALVING) for strategy in STRATEGIES)]
)


def of(candidate):
    """Lowest at warm-up 0.1 and at rate 0.03."""
    return 1 + 10 * (candidate.params["warmup"] - 0.1) ** 2 + math.log(candidate.base_lr / 0.03) ** 2


def bowl(trial):
    """With the luck of the replicate, which all candidates share."""
    return of(trial.candidate) + 0.01 * (trial.replicate - 1)


def run(score=bowl, spaces=(REX, LINEAR), strategy="sobol", budget=BUDGET, seed=0, log=None):
    def evaluate(trials):
        if log is not None:
            log.extend(trials)
        return {trial: score(trial) for trial in reversed(trials)}

    return search_shapes(spaces, STRATEGIES[strategy], budget, jax.random.key(seed), evaluate)


def with_race(race):
    return Budget(**{**vars(BUDGET), "race": race})


@EVERY_STRATEGY_AND_RACE
def test_the_winner_is_the_best_of_all_that_the_strategy_asked_for(strategy, race):
    findings = run(strategy=strategy, budget=with_race(race))
    for name, screened in findings.screened.items():
        best = min((raced.candidate for raced in screened), key=of)
        assert findings.winners[name].candidate is best
        assert findings.winners[name].base_lr == best.base_lr


@pytest.mark.parametrize("strategy", ["trust_region", "cmaes", "coordinate"])
def test_an_adaptive_strategy_comes_close_to_the_best_shape_and_rate(strategy):
    winner = run(spaces=(LINEAR,), strategy=strategy).winners["linear"]
    assert of(winner.candidate) < 1.005  # within 7 % of the rate and 0.022 of the warm-up


def test_every_family_screens_its_budget_of_candidates_in_the_order_asked():
    for name, screened in run().screened.items():
        assert [raced.candidate.number for raced in screened] == list(range(BUDGET.candidates))
        assert {raced.candidate.family.name for raced in screened} == {name}
        points = {(*raced.candidate.params.values(), raced.candidate.base_lr) for raced in screened}
        assert len(points) == BUDGET.candidates
        for raced in screened:
            raced.candidate.family.check(raced.candidate.params)


@pytest.mark.parametrize("candidates", [1, 3, 6])
def test_a_last_batch_that_is_too_large_is_cut(candidates):
    findings = run(budget=Budget(**{**vars(BUDGET), "candidates": candidates}))
    assert {len(screened) for screened in findings.screened.values()} == {candidates}
    assert [len(told) for told in findings.told.values()] == [candidates] * 2


def test_scores_are_medians_over_replicates():
    extra = (0.0, 5.0, 0.3)
    findings = run(lambda trial: bowl(trial) + extra[trial.replicate % 3])
    for row, raced in enumerate(findings.screened["rex"]):
        replicates = [bowl(Trial("screen", raced.candidate, 10, r)) + extra[r] for r in range(3)]
        assert raced.medians == (sorted(replicates)[1],)
        assert findings.told["rex"][row] == sorted(replicates)[1]


def test_the_strategy_is_told_comparable_scores_of_those_that_dropped_out():
    findings = run(lambda trial: of(trial.candidate) * 100 / trial.num_steps, budget=with_race(HALVING))
    exact = [10 * of(raced.candidate) for raced in findings.screened["rex"]]
    np.testing.assert_allclose(findings.told["rex"], exact, rtol=1e-12)  # half the loss in twice the steps
    assert {len(raced.medians) for raced in findings.screened["rex"]} == {1, 2}


def test_the_reported_scores_are_the_confirming_runs_of_the_winner():
    winner = run().winners["rex"]
    confirming = [Trial("confirm", winner.candidate, 10, replicate) for replicate in range(7)]
    assert winner.scores.tolist() == [bowl(trial) for trial in confirming]


def test_the_selection_on_fresh_seeds_overrules_a_lucky_screening():
    def lucky(trial):
        flattered = trial.stage == "screen" and trial.candidate.number == 5
        return bowl(trial) - (5.0 if flattered else 0.0)

    honest = run().winners["rex"].candidate.number
    assert honest != 5
    findings = run(lucky)
    assert np.argmin(findings.told["rex"]) == 5
    assert findings.winners["rex"].candidate.number == honest


def test_ties_go_to_the_earliest_candidate():
    findings = run(lambda trial: float(trial.candidate.number not in {3, 7, 11}))
    assert [winner.candidate.number for winner in findings.winners.values()] == [3, 3]


@pytest.mark.parametrize(("diverged", "wins"), [(1, True), (2, False)])
def test_a_candidate_with_diverged_replicates_scores_their_median(diverged, wins):
    def score(trial):
        best = trial.candidate.number == 4
        if best and trial.stage == "screen" and trial.replicate < diverged:
            return math.inf
        return bowl(trial) - (5 if best else 0)

    findings = run(score)
    assert math.isinf(findings.told["rex"][4]) != wins
    assert (findings.winners["rex"].candidate.number == 4) == wins


@EVERY_STRATEGY_AND_RACE
def test_a_search_in_which_everything_diverged_reports_it(strategy, race):
    findings = run(lambda trial: math.inf, strategy=strategy, budget=with_race(race))
    for name, winner in findings.winners.items():
        assert winner.candidate.number == 0
        assert winner.scores.tolist() == [math.inf] * BUDGET.confirm_replicates
        assert findings.told[name].tolist() == [math.inf] * BUDGET.candidates


def test_each_stage_measures_what_its_budget_says_and_nothing_twice():
    trials = []
    run(log=trials)
    assert len({trial.identity for trial in trials}) == len(trials)
    assert {trial.num_steps for trial in trials} == {10}
    counts = {"screen": 2 * 32 * 3, "select": 2 * 4 * 5, "confirm": 2 * 7}
    assert Counter(trial.stage for trial in trials) == counts


def test_a_raced_search_takes_fewer_steps_than_one_measured_in_full():
    raced, full = [], []
    findings = run(budget=with_race(HALVING), log=raced)
    run(log=full)
    steps = {trial.identity: trial.num_steps for trial in raced if trial.stage == "screen"}
    finished = sum(len(entry.medians) == 2 for group in findings.screened.values() for entry in group)
    assert sum(steps.values()) == 2 * 32 * 5 + finished * 30
    assert finished < 2 * 32
    assert sum(steps.values()) < sum(trial.num_steps for trial in full if trial.stage == "screen") == 1920


def test_the_selection_and_the_confirmation_are_measured_in_full():
    trials = []
    findings = run(budget=with_race(HALVING), log=trials)
    assert {trial.num_steps for trial in trials if trial.stage != "screen"} == {10}
    finished = {raced.candidate for raced in findings.screened["rex"] if len(raced.medians) == 2}
    selected = {t.candidate for t in trials if t.stage == "select" and t.candidate.family is REX.family}
    assert selected == set(sorted(finished, key=of)[:4])


def test_keys_are_common_to_the_candidates_of_a_replicate_and_to_nothing_else():
    trials = []
    run(budget=Budget(3, 3, Race((Rung(2, 10),)), 2, 2, 2), log=trials)
    keys = {}
    for trial in trials:
        group = keys.setdefault((trial.stage, trial.replicate), set())
        group.add(tuple(jax.random.key_data(trial.key(jax.random.key(7))).tolist()))
    assert set(keys) == set(itertools.product(("screen", "select", "confirm"), range(2)))
    assert all(len(group) == 1 for group in keys.values())
    assert len(set.union(*keys.values())) == len(keys)


@pytest.mark.parametrize("strategy", ["sobol", "cmaes"])
def test_families_are_searched_independently_of_each_other(strategy):
    joint, single = run(strategy=strategy), run(spaces=(LINEAR,), strategy=strategy)
    assert [raced.candidate.params for raced in joint.screened["linear"]] == [
        raced.candidate.params for raced in single.screened["linear"]
    ]


def test_candidates_from_elsewhere_are_confirmed_with_the_same_seeds():
    winner = run().winners["rex"]
    again = confirm({"mine": winner.candidate}, Rung(7, 10), lambda trials: {t: bowl(t) for t in trials})
    assert list(again) == ["mine"]
    np.testing.assert_array_equal(again["mine"].scores, winner.scores)


def test_families_of_one_name_are_refused():
    with pytest.raises(ValueError, match="families must have different names"):
        run(spaces=(REX, REX))


@pytest.mark.parametrize("field", [name for name in vars(BUDGET) if name != "race"])
def test_a_budget_below_its_least_is_refused_by_name(field):
    assert vars(Budget(**{**vars(BUDGET), field: 1}))[field] == 1
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        Budget(**{**vars(BUDGET), field: 0})
