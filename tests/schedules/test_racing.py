"""Races whose outcome is known by hand."""

import math

import numpy as np
import pytest

from schedules import FAMILIES
from schedules.search import Candidate, Race, Raced, Rung
from schedules.search.racing import median_scores, race, rung_medians, told_scores

RULES = Race((Rung(1, 10), Rung(2, 10), Rung(4, 20)))
VALUES = [5.0, 1.0, 7.0, 3.0, 8.0, 2.0, 6.0, 4.0]


def candidates(count, first=0):
    return [Candidate(FAMILIES["linear"], first + n, {"warmup": 0.1}, 0.1) for n in range(count)]


def run(values, rules=RULES, earlier=(), calls=None):
    """The race of one group whose scores are the values, the same in every replicate."""

    def evaluate(trials):
        if calls is not None:
            calls.append(list(trials))
        return {trial: values[trial.candidate.number] for trial in trials}

    asked = candidates(len(values) - len(earlier), len(earlier))
    return race("screen", {"group": asked}, {"group": earlier}, rules, evaluate)["group"]


def finishers(raced, rules=RULES):
    return [runner.candidate.number for runner in raced if len(runner.medians) == len(rules.rungs)]


def test_a_race_with_one_rung_is_the_plain_median():
    scores = np.random.default_rng(0).normal(size=(6, 5))
    rules = Race((Rung(5, 10),))

    def evaluate(trials):
        return {trial: scores[trial.candidate.number, trial.replicate] for trial in trials}

    raced = race("screen", {"group": candidates(6)}, {"group": ()}, rules, evaluate)["group"]
    np.testing.assert_array_equal([runner.medians for runner in raced], np.sort(scores, axis=1)[:, 2:3])
    np.testing.assert_array_equal(told_scores(rung_medians(raced, rules)), np.sort(scores, axis=1)[:, 2])


def test_the_better_half_of_each_rung_goes_on():
    raced = run(VALUES)
    assert [len(runner.medians) for runner in raced] == [1, 3, 1, 2, 1, 3, 1, 2]
    assert [runner.candidate.number for runner in raced] == list(range(8))
    assert all(set(runner.medians) == {VALUES[runner.candidate.number]} for runner in raced)


@pytest.mark.parametrize(("fraction", "expected"), [(1.0, list(range(8))), (0.25, [1]), (0.01, [1])])
def test_the_fraction_that_goes_on(fraction, expected):
    assert finishers(run(VALUES, Race(RULES.rungs, fraction))) == expected


def test_later_candidates_race_against_the_earlier_ones():
    first = run(VALUES)
    later = run([*VALUES, 3.5, 0.5, 9.0, 2.5], earlier=first)
    assert [runner.candidate.number for runner in later] == [8, 9, 10, 11]
    # of 12 the best six go on, up to 3.5; then of 0.5, 1, 2, 2.5, 3, 3.5 and 4 the best four, up to 2.5
    assert [len(runner.medians) for runner in later] == [2, 3, 1, 3]


def test_all_that_tie_go_on():
    assert finishers(run([1.0] * 5)) == list(range(5))


def test_those_that_diverged_go_on_only_where_all_did():
    assert finishers(run([math.inf] * 5)) == list(range(5))
    assert [len(runner.medians) for runner in run([math.inf, 2.0, math.inf, 1.0, math.inf])] == [
        1,
        2,
        1,
        3,
        1,
    ]


def test_a_rung_is_one_call_with_all_groups_and_trials_of_equal_length():
    calls = []

    def evaluate(trials):
        calls.append(list(trials))
        return {trial: float(trial.candidate.number) for trial in trials}

    asked = {"one": candidates(4), "other": candidates(2)}
    race("screen", asked, {"one": (), "other": ()}, RULES, evaluate)
    assert [{trial.num_steps for trial in trials} for trials in calls] == [{10}, {10}, {20}]
    assert [len(trials) for trials in calls] == [4 + 2, (2 + 1) * 2, (1 + 1) * 4]
    assert {trial.stage for trials in calls for trial in trials} == {"screen"}


def test_the_seeds_of_a_rung_are_the_first_ones_of_the_next():
    calls = []
    run(VALUES, calls=calls)
    for rung, trials in zip(RULES.rungs, calls, strict=True):
        for number in {trial.candidate.number for trial in trials}:
            replicates = [trial.replicate for trial in trials if trial.candidate.number == number]
            assert replicates == list(range(rung.replicates))


def test_a_race_takes_the_steps_counted_by_hand():
    calls = []
    run(VALUES, calls=calls)
    steps = {trial.identity: trial.num_steps for trials in calls for trial in trials}
    # 8 × 1 × 10, then a second seed for 4 × 1 × 10, then the full measurement of 2 × 4 × 20
    assert sum(steps.values()) == 80 + 40 + 160
    assert len(VALUES) * 4 * 20 == 640


def raced(*medians):
    return [Raced(candidate, row) for candidate, row in zip(candidates(len(medians)), medians, strict=True)]


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ([(4.0, 2.0), (6.0, 3.0), (8.0, 8.0), (10.0,)], [2, 3, 8, 5]),  # 3 / 6 of 10
        ([(4.0, 2.0), (10.0,)], [2, 5]),
        ([(0.0, 2.0), (10.0,)], [2, 12]),  # no ratio: the others rose by 2
        ([(-4.0, -8.0), (-6.0, -9.0), (-2.0,)], [-8, -9, -5.5]),
        ([(-4.0, math.inf), (10.0,)], [math.inf, 10]),
        ([(4.0, math.inf), (10.0,)], [math.inf, 10]),
        ([(4.0, 2.0), (math.inf,)], [2, math.inf]),
        ([], []),
    ],
)
def test_those_that_dropped_out_are_told_what_they_would_have_gained(medians, expected):
    assert told_scores(rung_medians(raced(*medians), Race((Rung(1, 10), Rung(1, 20))))).tolist() == expected


def test_each_rung_has_its_own_gain():
    medians = raced((8.0, 4.0, 1.0), (12.0, 10.0), (16.0,))
    assert told_scores(rung_medians(medians, RULES)).tolist() == [1.0, 2.5, 2.0]


@pytest.mark.parametrize("constant", [-8.0, -64.0])
def test_a_constant_added_to_scores_that_are_not_positive_is_added_to_what_is_told(constant):
    medians = np.array([[4.0, 2.0, 1.0], [6.0, 3.0, math.nan], [8.0, math.nan, math.nan]])
    told = told_scores(medians + constant)
    np.testing.assert_array_equal(told - constant, [1, 2, 5])  # the others fell by 1 and by 3


@pytest.mark.parametrize(("score", "text"), [(math.nan, "NaN"), (-math.inf, "-inf")])
def test_a_score_that_is_no_number_is_refused_with_its_trial(score, text):
    with pytest.raises(ValueError, match=rf"got {text} for Trial"):
        median_scores("screen", candidates(2), Rung(1, 10), lambda trials: dict.fromkeys(trials, score))


@pytest.mark.parametrize("field", ["replicates", "num_steps"])
def test_a_rung_of_nothing_is_refused_by_name(field):
    assert Rung(1, 1) == Rung(**{"replicates": 1, "num_steps": 1})
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        Rung(**{"replicates": 1, "num_steps": 1, field: 0})


@pytest.mark.parametrize("rungs", [(), (Rung(2, 10), Rung(1, 10)), (Rung(1, 20), Rung(2, 10))])
def test_rungs_that_ask_for_less_than_before_are_refused(rungs):
    with pytest.raises(ValueError, match="none asking for less than before"):
        Race(rungs)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, math.nan])
def test_a_fraction_outside_its_interval_is_refused(fraction):
    with pytest.raises(ValueError, match=r"keep_fraction must be in \(0, 1\]"):
        Race((Rung(1, 10),), fraction)
