"""Which families count as tied with the best, where a ratio of medians exists and where it does not."""

import numpy as np
import pytest

from schedules import FAMILIES
from schedules.search import Candidate, Scale, Winner, median_difference, standings, verdict


def winner(name, scores):
    return Winner(Candidate(FAMILIES[name], 0, {"warmup": 0.0}, 0.1), np.array(scores, np.float64))


def ranked(**scores):
    winners = {name: winner(name, values) for name, values in scores.items()}
    return standings(winners, ("cosine",), 0.95)


def test_with_a_best_median_of_zero_equals_tie_and_changes_are_differences():
    zeros, noisy = np.zeros(40), np.linspace(0.1, 0.2, 40)
    families = ranked(constant=noisy, linear=zeros, cosine=zeros)
    assert {standing.name: standing.ties_with_best for standing in families[1:]} == {
        "cosine": True,
        "constant": False,
    }
    assert families[2].against["cosine"].value == pytest.approx(0.15)
    sentence = verdict(families, "cosine")
    assert sentence == (
        "linear wins, 0 below cosine (interval +0 to +0, an interval that holds zero);"
        " not distinguishable from it: cosine."
    )


@pytest.mark.parametrize("constant", [-0.16, -2.0])
def test_a_constant_that_makes_scores_negative_changes_no_difference(constant):
    """The best and the baseline differ by 0.05 with either seed; by a ratio it would be 33 % or 500 %."""
    luck = np.linspace(0.0, 0.1, 40)
    families = ranked(linear=0.10 + luck + constant, cosine=0.15 + luck + constant)
    assert families[0].scale is Scale.ABSOLUTE
    np.testing.assert_allclose(families[0].against["cosine"], [-0.05] * 3, atol=1e-12)
    assert verdict(families, "cosine").startswith("linear wins, 0.05 below cosine (interval -0.05 to -0.05)")


def test_one_score_that_is_not_positive_makes_all_changes_of_a_table_differences():
    families = ranked(linear=np.full(40, 0.1), cosine=np.full(40, 0.2), rex=np.full(40, -0.3))
    assert [standing.name for standing in families] == ["rex", "linear", "cosine"]
    assert [standing.against.get("cosine") for standing in families] == [
        pytest.approx((-0.5,) * 3),
        pytest.approx((-0.1,) * 3),
        None,
    ]


def test_positive_scores_are_compared_by_ratios():
    families = ranked(linear=np.full(40, 0.1), cosine=np.full(40, 0.2))
    assert families[0].scale is Scale.RELATIVE
    assert verdict(families, "cosine").startswith(
        "linear wins, 50.0% below cosine (interval -50.0% to -50.0%)"
    )


@pytest.mark.parametrize("shift", [0.0, 0.5, -2.0])
def test_a_shift_of_every_replicate_is_the_difference_with_no_width(shift):
    scores = np.random.default_rng(0).normal(size=30)
    np.testing.assert_allclose(median_difference(scores + shift, scores), [shift] * 3, atol=1e-12)


def test_a_family_whose_runs_mostly_diverged_does_not_tie():
    families = ranked(linear=np.linspace(0.1, 0.2, 40), cosine=np.full(40, np.inf))
    assert not families[1].ties_with_best


def test_where_the_best_mostly_diverged_nothing_is_told_apart_or_tied():
    families = ranked(linear=np.full(40, np.inf), cosine=np.full(40, np.inf))
    assert np.isnan(families[1].behind_best).all()
    assert verdict(families, "cosine").startswith("No winner")
