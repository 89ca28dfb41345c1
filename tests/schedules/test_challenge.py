"""The verdict among any curves, on landscapes whose best curve is known."""

import functools
import math
from collections import Counter
from typing import NamedTuple

import jax
import numpy as np
import pytest

from schedules.search import Rung, Scale, Verdict, challenge, confirm
from schedules.search.curves import Exploration, explore, model_of, ranked
from schedules.search.pool import curves_at
from tests.schedules.landscapes import NUM_STEPS, Bowl, Journal, spaces

pytestmark = pytest.mark.usefixtures("one_thread")
SPACES = spaces("linear", "wsd")
RUNS = 48


class Case(NamedTuple):
    bowl: Bowl
    journal: Journal
    verdict: Verdict

    @property
    def change(self):
        """The true one, from the winner to what was found."""
        scores = [
            self.bowl.score(self.bowl.truth(candidate))
            for candidate in (self.verdict.winner.candidate, self.verdict.own.found)
        ]
        return float(self.verdict.scale.changes(scores[1], scores[0]))

    @property
    def saved(self):
        """What the best of all curves truly saves of the score of the better one."""
        verdict = self.verdict
        level = self.bowl.truth(verdict.own.found if verdict.improved else verdict.winner.candidate)
        return -math.expm1(-level) if verdict.scale is Scale.RELATIVE else level


def landscape(number, positive=True):
    """Its best curve is a draw of the freest family, which the search before the challenge does not have."""
    (space,) = spaces("free").values()
    point = np.random.default_rng(number).random((1, space.dimensions), np.float32)
    point[0, -1] = 0.3 + 0.4 * point[0, -1]  # of the learning rates, the middle
    return Bowl(curves_at(space, point, NUM_STEPS)[0], name=number, positive=positive)


def challenged(bowl, runs=RUNS, winner=None, evaluate=None):
    journal, key = Journal(evaluate or bowl.evaluate), jax.random.key(bowl.name)
    scores = explore(SPACES, Exploration(24, 8, 0, 1, NUM_STEPS), key, journal.evaluate)
    best = winner or ranked(scores, model_of(scores))[0]
    confirmed = confirm({"best": best}, Rung(8, NUM_STEPS), journal.evaluate)["best"]
    journal.trials.clear()
    return Case(bowl, journal, challenge(confirmed, SPACES, scores, runs, 0.95, key, journal.evaluate)[0])


@functools.cache
def case(number, positive=True):
    return challenged(landscape(number, positive))


# P(at least 9 of 10) is 91 % where 95 % hold, 38 % where 80 % do, 15 % where 70 % do, 1 % where half do
LANDSCAPES, LEAST = range(10), 9


def test_no_curve_saves_more_than_delta():
    assert sum(case(number).saved <= case(number).verdict.delta for number in LANDSCAPES) >= LEAST


def test_the_change_is_in_its_interval():
    cases = [case(number) for number in LANDSCAPES]
    assert sum(c.verdict.own.change.low <= c.change <= c.verdict.own.change.high for c in cases) >= LEAST


def test_a_better_curve_that_no_searched_family_has_is_found():
    cases = [case(number) for number in LANDSCAPES]
    improved = [c for c in cases if c.verdict.improved]
    assert len(improved) >= 5  # some winners are near the best
    assert all(c.change < 0 for c in improved)
    planted = min(improved, key=lambda c: c.change)  # of which the families' shapes are far
    assert planted.verdict.own.found.family.name == "free"
    assert planted.change < -0.3
    assert str(planted.verdict).startswith("improved by ")
    assert str(planted.verdict).endswith("% in free")


def test_where_scores_may_be_negative_the_verdict_is_in_their_unit():
    verdict = case(1, positive=False).verdict
    assert verdict.scale is Scale.ABSOLUTE
    assert "in the metric's unit" in str(verdict)
    assert verdict.own.change.low <= case(1, positive=False).change <= verdict.own.change.high


def test_the_change_has_the_scale_of_all_scores_and_not_of_the_last_ones():
    bowl = landscape(1, positive=False)

    def evaluate(trials):
        return {
            trial: score + 5.0 * (trial.stage == "check") for trial, score in bowl.evaluate(trials).items()
        }

    shifted = challenged(bowl, evaluate=evaluate)
    assert shifted.verdict.scale is Scale.ABSOLUTE
    np.testing.assert_allclose(
        shifted.verdict.own.change, case(1, positive=False).verdict.own.change, atol=1e-12
    )


def test_a_winner_that_is_the_best_curve_is_near_optimal():
    (best,) = SPACES["wsd"].candidates(np.array([[0.3, 0.5, 0.5, 0.5]], np.float32), 1_000)
    bowl = Bowl(curves_at(SPACES["wsd"], np.array([[0.3, 0.5, 0.5, 0.5]], np.float32), NUM_STEPS)[0])
    verdict = challenged(bowl, winner=best).verdict
    assert not verdict.improved
    assert str(verdict) == f"near-optimal within {verdict.delta:.2%}"
    assert 0 <= verdict.delta < 1


@pytest.mark.parametrize("number", [0, 1])
def test_every_round_runs_the_winner_with_its_challengers_on_the_same_seeds(number):
    journal, verdict = case(number).journal, case(number).verdict
    own, stages = verdict.winner.candidate, Counter(trial.stage for trial in journal.trials)
    assert list(stages) == ["challenge 0", "challenge 1", "check"]
    for stage, count in stages.items():
        groups = Counter(trial.candidate for trial in journal.trials if trial.stage == stage)
        assert own in groups
        assert set(groups.values()) == {6 if stage == "check" else 4}
        assert len(groups) == (2 if stage == "check" else count // 4)
    assert 0.8 * RUNS < len(journal.trials) <= RUNS
    assert len({trial.identity for trial in journal.trials}) == len(journal.trials)


@pytest.mark.parametrize("runs", [0, 15])
def test_with_too_few_runs_the_model_alone_bounds_what_is_saved(runs):
    few = challenged(landscape(2), runs)
    assert not few.journal.trials
    assert few.verdict.own.found is few.verdict.winner.candidate
    assert few.verdict.own.change == (0.0, 0.0, 0.0)
    assert 0 < few.verdict.delta < 1


def test_where_all_runs_diverge_nothing_is_bounded():
    (best,) = SPACES["linear"].candidates(np.array([[0.5, 0.5]], np.float32), 1_000)
    lost = challenged(landscape(0), winner=best, evaluate=lambda trials: dict.fromkeys(trials, math.inf))
    assert math.isinf(lost.verdict.delta)
    assert not lost.verdict.improved
    assert str(lost.verdict) == "near-optimal within inf%"


@pytest.mark.parametrize("score", [math.nan, -math.inf])
@pytest.mark.parametrize("stage", ["challenge 0", "check"])
def test_a_score_that_is_none_is_refused(stage, score):
    bowl = landscape(0)

    def evaluate(trials):
        return {
            trial: score if trial.stage == stage else known for trial, known in bowl.evaluate(trials).items()
        }

    with pytest.raises(ValueError, match="a score must be a number"):
        challenged(bowl, runs=32, evaluate=evaluate)
