"""The whole search on synthetic scores whose best shape and rate are known."""

import itertools
import math
from collections import Counter

import jax
import numpy as np
import pytest

from schedules import FAMILIES
from schedules.search import STRATEGIES, Budget, RateGrid, Trial, search_shapes

GRID = RateGrid((0.01, 0.02, 0.04, 0.08))
BUDGET = Budget(
    shapes=16, screen_replicates=3, top=4, select_replicates=5, confirm_replicates=7, max_extensions=3
)
REX, LINEAR = FAMILIES["rex"], FAMILIES["linear"]


def bowl(trial, best_lr=0.03):
    """Lowest at warm-up 0.1 and at `best_lr`, plus the luck of the replicate, which all shapes share."""
    luck = 0.01 * (trial.replicate - 1)
    shape = 10 * (trial.shape.params["warmup"] - 0.1) ** 2
    return 1 + shape + math.log(trial.base_lr / best_lr) ** 2 + luck


def run(score=bowl, families=(REX, LINEAR), strategy="sobol", budget=BUDGET, grid=GRID, seed=0, log=None):
    def evaluate(trials):
        if log is not None:
            log.extend(trials)
        return {trial: score(trial) for trial in reversed(trials)}

    return search_shapes(families, STRATEGIES[strategy], grid, budget, jax.random.key(seed), evaluate)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("best_lr", [0.021, 0.039])
def test_the_winner_is_the_best_shape_at_its_best_rate(strategy, best_lr):
    findings = run(lambda trial: bowl(trial, best_lr), strategy=strategy)
    for name, screened in findings.screened.items():
        warmups = np.array([one.shape.params["warmup"] for one in screened])
        winner = findings.winners[name]
        assert winner.screened.shape.number == np.argmin(np.abs(warmups - 0.1))
        assert winner.base_lr == (0.02 if best_lr == 0.021 else 0.04)
        assert winner.screened.bracketed


def test_every_family_screens_its_budget_of_shapes_in_the_order_asked():
    findings = run()
    for name, screened in findings.screened.items():
        assert [one.shape.number for one in screened] == list(range(BUDGET.shapes))
        assert {one.shape.family.name for one in screened} == {name}
        assert len({tuple(one.shape.params.values()) for one in screened}) == BUDGET.shapes
        for one in screened:
            one.shape.family.check(one.shape.params)


def test_scores_are_medians_over_replicates():
    findings = run(lambda trial: bowl(trial) + {0: 0.0, 1: 5.0, 2: 0.3}[trial.replicate % 3])
    for one in findings.screened["rex"]:
        for rate, score in one.scores.items():
            replicates = [
                bowl(Trial("screen", one.shape, rate, GRID[rate], r)) + (0, 5, 0.3)[r] for r in range(3)
            ]
            assert score == sorted(replicates)[1]


def test_the_reported_scores_are_the_confirming_runs_of_the_winner():
    winner = run().winners["rex"]
    confirming = [
        Trial("confirm", winner.screened.shape, winner.screened.best_rate, winner.base_lr, r)
        for r in range(7)
    ]
    assert winner.scores.tolist() == [bowl(trial) for trial in confirming]


def test_the_selection_on_fresh_seeds_overrules_a_lucky_screening():
    def lucky(trial):
        flattered = trial.stage == "screen" and trial.shape.number == 5
        return bowl(trial) - (5.0 if flattered else 0.0)

    honest = run().winners["rex"].screened.shape.number
    assert honest != 5
    findings = run(lucky)
    assert min(findings.screened["rex"], key=lambda one: one.score).shape.number == 5
    assert findings.winners["rex"].screened.shape.number == honest


def test_ties_go_to_the_earliest_candidate():
    tied = {3, 7, 11}
    findings = run(lambda trial: float(trial.shape.number not in tied))
    assert [winner.screened.shape.number for winner in findings.winners.values()] == [3, 3]


def test_a_tie_over_rates_goes_to_the_smallest():
    findings = run(lambda trial: float(trial.rate not in (1, 2)))
    assert all(winner.base_lr == GRID[1] for winner in findings.winners.values())


@pytest.mark.parametrize(("diverged", "wins"), [(1, True), (2, False)])
def test_a_candidate_with_diverged_replicates_scores_their_median(diverged, wins):
    def score(trial):
        best = trial.shape.number == 4
        if best and trial.stage == "screen" and trial.replicate < diverged:
            return math.inf
        return bowl(trial) - (5 if best else 0)

    findings = run(score)
    assert math.isinf(findings.screened["rex"][4].score) != wins
    assert (findings.winners["rex"].screened.shape.number == 4) == wins


def test_a_search_in_which_everything_diverged_reports_it():
    findings = run(lambda trial: math.inf)
    for winner in findings.winners.values():
        assert winner.screened.shape.number == 0
        assert winner.scores.tolist() == [math.inf] * BUDGET.confirm_replicates
        assert not winner.screened.bracketed
        assert min(winner.screened.scores) == -BUDGET.max_extensions  # it looked at smaller rates


@pytest.mark.parametrize(("best_lr", "index"), [(0.16, 4), (0.32, 5), (0.005, -1), (0.0025, -2)])
def test_an_optimum_past_the_grid_is_extended_to_and_bracketed(best_lr, index):
    for one in run(lambda trial: bowl(trial, best_lr)).screened["linear"]:
        assert one.best_rate == index
        assert one.bracketed
        assert sorted(one.scores) == list(range(min(0, index - 1), max(4, index + 2)))
    winner = run(lambda trial: bowl(trial, best_lr)).winners["linear"]
    assert math.isclose(winner.base_lr, best_lr, rel_tol=1e-9)


@pytest.mark.parametrize(("best_lr", "index"), [(100.0, 6), (1e-6, -3)])
def test_an_optimum_beyond_the_last_extension_is_reported_as_not_bracketed(best_lr, index):
    for one in run(lambda trial: bowl(trial, best_lr)).screened["rex"]:
        assert one.best_rate == index
        assert not one.bracketed


def test_only_the_shapes_on_an_edge_are_extended():
    trials = []
    findings = run(lambda trial: bowl(trial, 0.03 if trial.shape.number % 2 else 0.3), log=trials)
    extended = {trial.shape.number for trial in trials if trial.rate > 3}
    assert extended == set(range(0, BUDGET.shapes, 2))
    assert all(one.bracketed for one in findings.screened["rex"])


def test_each_stage_measures_what_its_budget_says_and_nothing_twice():
    trials = []
    run(log=trials)
    assert len({trial.identity for trial in trials}) == len(trials)
    assert Counter(trial.stage for trial in trials) == {
        "screen": 2 * 16 * 4 * 3,
        "select": 2 * 4 * 5,
        "confirm": 2 * 7,
    }
    assert all(trial.base_lr == GRID[trial.rate] for trial in trials)


def test_keys_are_common_to_the_candidates_of_a_replicate_and_to_nothing_else():
    trials = []
    run(budget=Budget(3, 2, 2, 2, 2, 0), log=trials)
    root = jax.random.key(7)
    keys = {}
    for trial in trials:
        group = keys.setdefault((trial.stage, trial.replicate), set())
        group.add(tuple(jax.random.key_data(trial.key(root)).tolist()))
    assert set(keys) == set(itertools.product(("screen", "select", "confirm"), range(2)))
    assert all(len(group) == 1 for group in keys.values())
    assert len(set.union(*keys.values())) == len(keys)


def test_a_trial_trains_at_the_base_rate_times_the_shape():
    shape = run(families=(LINEAR,)).screened["linear"][0].shape
    warmup = shape.params["warmup"]
    x = np.arange(10) / 10
    expected = 0.04 * np.where(x < warmup, x / warmup, (1 - x) / (1 - warmup))
    rates = Trial("screen", shape, 2, 0.04, 0).learning_rates(10)
    np.testing.assert_allclose(rates, expected, rtol=0, atol=2e-8)  # a few float32 roundings of 0.04


def test_families_are_searched_independently_of_each_other():
    together, alone = run(), run(families=(LINEAR,))
    assert [one.shape.params for one in together.screened["linear"]] == [
        one.shape.params for one in alone.screened["linear"]
    ]


@pytest.mark.parametrize("field", list(vars(BUDGET)))
def test_a_budget_below_its_least_is_refused_by_name(field):
    least = 0 if field == "max_extensions" else 1
    assert vars(Budget(**{**vars(BUDGET), field: least}))[field] == least
    with pytest.raises(ValueError, match=f"{field} must be at least {least}"):
        Budget(**{**vars(BUDGET), field: least - 1})
