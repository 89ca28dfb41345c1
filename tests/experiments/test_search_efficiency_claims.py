"""The claims about search efficiency and the statistics beneath them, of results that are made up."""

import numpy as np
import pytest

from experiments.search_efficiency import Landscape, Training
from experiments.search_efficiency.config import DEFAULT, RANDOM
from experiments.search_efficiency.findings import claims, cost_text, ratio_text
from experiments.search_efficiency.judging import Judged, Known, Winner, cost_ratio, median_error
from experiments.search_efficiency.runs import results_of
from experiments.search_efficiency.searches import CURVES, Incumbents, Search
from experiments.study.storage.journal import Tally
from schedules import FAMILIES
from schedules.search import Candidate, median_estimate


def incumbents(costs, scores):
    candidates = tuple(Candidate(FAMILIES["linear"], k, {"warmup": 0.0}, 1.0) for k in range(len(costs)))
    return Incumbents(candidates, np.array(costs, float), np.array(scores), np.array(scores))


def test_a_search_arrives_when_it_first_knows_a_near_optimal_shape():
    found = incumbents([4, 8, 20], [3.0, 1.0, 1.5])
    assert [found.cost_to_reach(score) for score in (3.0, 2.9, 1.0, 0.9)] == [4, 8, 8, np.inf]
    assert found.scores_at(np.array([3, 4, 19, 20])).tolist() == [np.inf, 3, 1, 1.5]


def test_near_optimal_is_within_the_tolerance_or_one_standard_error():
    assert Known(2.0, error=0.0).near(0.01) == pytest.approx(2.02)
    assert Known(2.0, error=0.5).near(0.01) == pytest.approx(2.5)
    assert Known(-2.0, error=0.5).near(0.01) == -1.5  # a fraction of a score that is not positive is nothing
    assert Known(-2.0, error=0.0).near(0.01) == -2.0


def test_searches_that_did_not_arrive_count_as_the_dearest():
    costs = np.array([10.0, 20.0, 30.0, np.inf, np.inf])
    assert cost_text(median_estimate(costs), 40) == "30 [0, > 40]"  # five bound nothing with 95 %
    assert cost_text(median_estimate(np.array([9.0, *costs, np.inf])), 40) == "30 [9, > 40]"
    assert cost_ratio(costs, np.full(5, np.inf), 300, 0.95).value == pytest.approx(0.1)
    assert cost_ratio(costs, np.array([60.0, 60, 60, 60, np.inf]), 300, 0.95).value == pytest.approx(0.5)
    assert cost_ratio(np.full(5, np.inf), costs, 40, 0.95).value == np.inf


def test_the_error_of_a_median_is_that_of_normal_theory():
    scores = np.random.default_rng(0).normal(5, 2, 20_000)
    assert median_error(scores, 200) == pytest.approx(2 * np.sqrt(np.pi / 2 / 200), rel=0.1)
    assert median_error(np.array([1.0, np.inf]), 3) == np.inf


def made_up(config, costs, winners=None):
    """The results of made-up searches: each knows the best at its cost."""
    found = {
        Search(family, strategy, seed): incumbents([1, cost], [2.0, 1.0])
        for family in config.families
        for strategy in config.budgets
        for seed, cost in enumerate(costs[strategy])
    }
    judged = Judged(found, dict.fromkeys(config.families, Known(1.0, 0.0)), winners or {})
    return results_of(config, judged, Tally(0, 0, 0.0))


@pytest.mark.parametrize(
    ("default", "random", "held"),
    [
        ([100] * 10 + [150] * 8 + [np.inf] * 2, [np.inf] * 20, [True, True, True]),
        ([151] * 18 + [np.inf] * 2, [np.inf] * 9 + [1000] * 11, [False, True, False]),
        ([150] * 11 + [np.inf] * 9, [np.inf] * 20, [True, False, True]),
    ],
)
def test_the_claims_on_landscapes_are_about_medians_and_fractions(default, random, held):
    config = Landscape(families=("linear",), budgets={DEFAULT: 400, RANDOM: 150_000})
    results = made_up(config, {DEFAULT: default, RANDOM: random})
    assert [claim.held for claim in claims(results)] == held


@pytest.mark.parametrize(("modelled", "held"), [(150, True), (151, False), (np.inf, False)])
def test_the_model_of_curves_is_claimed_to_take_half_as_much_again_at_most(modelled, held):
    config = Landscape(families=("linear",), budgets={DEFAULT: 400, RANDOM: 150_000, CURVES: 400})
    results = made_up(config, {DEFAULT: [100] * 20, RANDOM: [np.inf] * 20, CURVES: [modelled] * 20})
    assert claims(results)[-1].held == held


@pytest.mark.parametrize(
    ("default", "random", "held", "text"),
    [(100, 600, True, "0.167 ["), (200, 600, False, "0.333 ["), (100, np.inf, True, "≤ 0.05 [")],
)
def test_the_claims_on_training_are_about_random_search_and_the_truth(default, random, held, text):
    config = Training(budgets={DEFAULT: 400, RANDOM: 2000})
    noise = np.random.default_rng(0)
    winners = {
        Search("two_point_spline", DEFAULT, seed): Winner(
            0.8, 1 + 0.1 * noise.normal(size=100), 1 + 0.1 * noise.normal(size=1000)
        )
        for seed in range(20)
    }
    results = made_up(config, {DEFAULT: [default] * 20, RANDOM: [random] * 20}, winners)
    assert [claim.held for claim in claims(results)] == [held, True, True, True]
    assert ratio_text(results, results.efficiency["two_point_spline", DEFAULT]).startswith(text)
    flattered = {s: w._replace(fresh=w.fresh - 0.2) for s, w in winners.items()}
    results = results._replace(judged=results.judged._replace(winners=flattered))
    assert [claim.held for claim in claims(results)][2:] == [False, False]
