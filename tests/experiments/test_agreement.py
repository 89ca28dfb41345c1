"""How a measure ranks runs, against sums over pairs and what is known by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from experiments.study.statistics.agreement import (
    Choice,
    Environment,
    choice,
    granulated,
    hoeffding_weight,
    kendall,
    least_gap,
    num_unranked,
    sign_errors,
)


def pair_sum(measure, errors):
    pairs = itertools.permutations(range(len(errors)), 2)
    signs = [np.sign(measure[i] - measure[j]) * np.sign(errors[i] - errors[j]) for i, j in pairs]
    return np.mean(signs)


def widths_and_depths():
    """Runs of five widths and four depths, whose error grows with both."""
    width, depth = (axis.ravel() for axis in np.meshgrid(np.arange(5.0), np.arange(4.0), indexing="ij"))
    return {"width": width, "depth": depth}, width + 0.1 * depth


def test_tau_is_the_sum_over_pairs_with_ties():
    rng = np.random.default_rng(0)
    for ties in (3, 8, 1000):
        measure, errors = rng.integers(ties, size=(2, 20)).astype(float)
        assert kendall(measure, errors) == pytest.approx(pair_sum(measure, errors))


def test_without_ties_tau_is_scipys():
    measure, errors = np.random.default_rng(1).normal(size=(2, 30))
    assert kendall(measure, errors) == pytest.approx(stats.kendalltau(measure, errors).statistic)


def test_a_measure_that_is_the_width_has_a_high_tau_and_granulated_says_it_is_no_more():
    settings, errors = widths_and_depths()
    assert kendall(settings["width"], errors) == pytest.approx(0.842, abs=5e-4)
    assert granulated(settings["width"], errors, settings) == pytest.approx({"width": 1, "depth": 0})


def test_a_setting_of_words_is_as_good_as_one_of_numbers():
    settings, errors = widths_and_depths()
    words = settings | {"depth": np.array(["one", "two", "three", "four"])[settings["depth"].astype(int)]}
    assert granulated(errors, errors, words) == pytest.approx({"width": 1, "depth": 1})
    assert set(sign_errors(errors, errors, words, 10**6).values()) == {0.0}


def test_a_setting_that_no_two_runs_differ_in_has_no_granulated_tau():
    errors = np.array([0.1, 0.2])
    settings = {"width": np.array([1, 2]), "depth": np.array([3, 3])}
    assert granulated(errors, errors, settings) == pytest.approx({"width": 1})


def test_runs_without_a_measure_rank_last_and_are_counted():
    measure = np.array([2.0, np.nan, -np.inf, np.inf, 1.0])
    assert num_unranked(measure) == 2
    assert kendall(measure, np.arange(5.0)) == kendall(np.array([2.0, 9.0, 0.0, 9.0, 1.0]), np.arange(5.0))
    assert choice(np.array([np.nan, 1.0]), np.array([0.0, 1.0])) == Choice(0, 1)


def test_a_choice_is_judged_by_each_draw_of_the_errors():
    """The second run is chosen, or the second and the last; of five runs one is the best fifth."""
    draws = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [3, 1.6, 2, 1.5, 5], [2, 2, 2, 2, 2]])
    found = choice(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), draws)
    np.testing.assert_array_equal(found.hit, [0, 0, 1])
    np.testing.assert_allclose(found.regret, [0.25, 0.1 / 3.5, 0])
    tied = choice(np.array([3.0, 1.0, 2.0, 5.0, 1.0]), draws)
    np.testing.assert_array_equal(tied.hit, [0, 0, 1])
    np.testing.assert_allclose(tied.regret, [0.625, 1.8 / 3.5, 0])


def test_a_constant_measure_orders_nothing():
    settings, errors = widths_and_depths()
    assert kendall(np.ones(20), errors) == 0
    assert set(sign_errors(np.ones(20), errors, settings, 10**6).values()) == {0.5}


def test_the_worst_environment_is_where_a_measure_fails():
    settings, errors = widths_and_depths()
    found = sign_errors(errors - 0.2 * settings["depth"], errors, settings, 10**6)
    assert len(found) == 5 * 4 / 2 + 4 * 3 / 2
    assert {environment.setting for environment, error in found.items() if error == max(found.values())} == {
        "depth"
    }
    assert found[Environment("width", 0.0, 3.0)] == 0
    assert found[Environment("depth", 1.0, 2.0)] == 1


def test_a_sign_error_is_the_mean_over_pairs_weighted_by_how_surely_they_differ():
    settings = {"width": np.array([1, 1, 2, 2])}  # two seeds each
    measure, errors = np.array([1.0, 4.0, 2.0, 3.0]), np.array([0.1, 0.15, 0.2, 0.12])
    pairs = [(0, 2), (0, 3), (1, 2), (1, 3)]
    weights = [max(0, 1 - 2 * np.exp(-2 * 2000 * (errors[i] - errors[j]) ** 2 / 4)) ** 2 for i, j in pairs]
    wrong = [(measure[j] > measure[i]) != (errors[j] > errors[i]) for i, j in pairs]
    assert sign_errors(measure, errors, settings, 2000) == {
        Environment("width", 1, 2): pytest.approx(np.average(wrong, weights=weights))
    }


def test_errors_that_cannot_be_told_apart_make_no_environment():
    assert sign_errors(np.arange(2.0), np.array([0.1, 0.16]), {"width": np.arange(2)}, 360) == {}


@pytest.mark.parametrize(("examples", "gap"), [(360, 0.062), (10_000, 0.0118)])
def test_below_this_gap_the_weight_is_zero(examples, gap):
    least = least_gap(examples)
    assert least == pytest.approx(gap, abs=1e-4)
    assert hoeffding_weight(0.999 * least, examples) == 0 < hoeffding_weight(1.001 * least, examples)
    assert hoeffding_weight(np.array([0.02, 0.05]), 10_000) == pytest.approx([0.532, 1.000], abs=5e-4)


def test_the_choice_by_a_measure_hits_the_best_fifth_or_regrets():
    errors = np.linspace(0.1, 0.3, 10)
    assert choice(errors, errors) == Choice(1, 0)
    assert choice(-errors, errors) == Choice(0, 1)
    first, second, third = ((np.arange(10) != place).astype(float) for place in range(3))
    assert [choice(measure, errors).hit for measure in (first, second, third)] == [1, 1, 0]
    assert choice(third, errors).regret == pytest.approx(2 / 9)
    assert choice(np.ones(10), errors) == pytest.approx(Choice(0.2, 0.5))
    assert choice(first, np.ones(10)) == Choice(1, 0)


def test_several_measures_and_draws_of_errors_are_ranked_as_each_alone():
    rng = np.random.default_rng(2)
    settings, _ = widths_and_depths()
    measures, draws = rng.integers(6, size=(3, 20)).astype(float), rng.normal(size=(4, 20))
    measures[1, 5] = np.nan
    joint, single = kendall(measures, draws), [[kendall(m, errors) for m in measures] for errors in draws]
    assert joint == pytest.approx(np.array(single))
    for name, values in granulated(measures, draws, settings).items():
        single = [[granulated(m, errors, settings)[name] for m in measures] for errors in draws]
        assert values == pytest.approx(np.array(single))
