"""Which families count as tied with the best, where a ratio of medians exists and where it does not."""

import numpy as np
import pytest

from schedules import FAMILIES
from schedules.search import Candidate, Winner, median_difference, standings, verdict


def winner(name, scores):
    return Winner(Candidate(FAMILIES[name], 0, {"warmup": 0.0}, 0.1), np.array(scores, np.float64))


def ranked(**scores):
    winners = {name: winner(name, values) for name, values in scores.items()}
    return standings(winners, ("cosine",), 0.95)


def test_with_a_best_median_of_zero_equals_tie_and_the_clearly_worse_do_not():
    zeros, noisy = np.zeros(40), np.linspace(0.1, 0.2, 40)
    families = ranked(constant=noisy, linear=zeros, cosine=zeros)
    assert {one.name: one.ties_with_best for one in families[1:]} == {"cosine": True, "constant": False}
    sentence = verdict(families, "cosine")
    assert sentence == "linear wins; its lead over cosine has no ratio; not distinguishable from it: cosine."


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
