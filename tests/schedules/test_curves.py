"""The one search over the curves of all families, on landscapes whose best curve is known."""

import functools
import itertools
import math
from collections import Counter

import jax
import numpy as np
import pytest

from schedules.search import Trial, curves
from schedules.search.curves import Exploration, explore, model_of, ranked
from schedules.search.pool import curves_at
from tests.schedules.landscapes import NUM_STEPS, Bowl, Journal, luck, spaces

pytestmark = pytest.mark.usefixtures("one_thread")
SPACES = spaces("linear", "wsd")
KEY = jax.random.key(0)


def curve(space, point):
    return curves_at(space, np.array([point], np.float32), NUM_STEPS)[0]


BOWL = Bowl(best=curve(SPACES["wsd"], [0.2, 0.3, 0.5, 0.6]))


def budget(runs, batch=8, rounds=0, top=2):
    return Exploration(runs, batch, rounds, top, NUM_STEPS)


def diverged(trials):
    return dict.fromkeys(trials, math.inf)


def search(fields, limits, evaluate=BOWL.evaluate, key=KEY):
    journal = Journal(evaluate)
    return explore(fields, limits, key, journal.evaluate, journal.once), journal


@functools.cache
def searched():
    return search(SPACES, budget(runs=41, rounds=2))


def chosen_at_random(seed, count):
    """The level of the curve with the lowest score among draws, each with a seed of its own."""
    points = np.random.default_rng(seed).random((count // 2, 4)).astype(np.float32)
    drawn = [curves_at(space, points[:, -space.dimensions :], NUM_STEPS) for space in SPACES.values()]
    levels = np.array([BOWL.level(rates) for rates in np.concatenate(drawn)])
    noise = math.hypot(BOWL.seed, BOWL.noise) * np.array([luck(seed, number) for number in range(count)])
    return levels[np.argmin(levels + noise)]


def test_the_curve_that_the_model_expects_most_of_is_near_the_best():
    levels = []
    for seed in range(5):
        scores = explore(SPACES, budget(runs=120, batch=15), jax.random.key(seed), BOWL.evaluate)
        best = ranked(scores, model_of(scores))[0]
        levels.append(BOWL.truth(best))
    assert max(levels) < math.log(1.05)  # a run's own luck is 11 %
    assert np.median(levels) < 0.5 * np.median([chosen_at_random(seed, 120) for seed in range(5)])


def test_the_runs_of_a_batch_share_a_seed_that_no_other_batch_has():
    scores, _ = searched()
    sizes = Counter(trial.replicate for trial in scores)
    assert list(sizes) == list(range(len(sizes)))
    assert sizes == {0: 8, 1: 8, 2: 8, 3: 8, 4: 9, 5: 4, 6: 4}  # none below 8 before the refinement
    replicates = [trial.replicate for trial in scores]
    assert replicates == sorted(replicates)


def test_a_batch_grows_with_the_runs_made():
    scores, _ = search(SPACES, budget(runs=150, batch=2), diverged)
    sizes = list(Counter(trial.replicate for trial in scores).values())
    assert sizes[:24] == [2] * 24
    assert sizes[-2] == 8  # of 136 that were made


def test_runs_are_told_in_the_order_asked_and_none_has_anothers_identity():
    scores, journal = searched()
    assert list(scores) == journal.trials
    assert len({trial.identity for trial in scores}) == len(scores)


def test_every_family_has_its_part_of_a_refinement():
    scores, _ = searched()
    for replicate in (5, 6):
        names = [trial.candidate.family.name for trial in scores if trial.replicate == replicate]
        assert names == ["linear", "linear", "wsd", "wsd"]


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("runs", [1, 2, 9, 16, 17, 33])
def test_there_are_as_many_runs_as_the_budget_says(runs, rounds):
    scores, journal = search(SPACES, budget(runs, rounds=rounds))
    assert len(scores) == len(journal.trials) == runs + rounds * 2 * len(SPACES)


def test_a_search_that_is_gone_through_again_computes_and_runs_nothing(monkeypatch):
    scores, journal = searched()
    monkeypatch.setattr(curves, "model_of", None)
    monkeypatch.setattr(curves, "pool_of", None)
    made = len(journal.trials)
    again = explore(SPACES, budget(runs=41, rounds=2), KEY, journal.evaluate, journal.once)
    assert len(journal.trials) == made
    assert [(trial.identity, trial.params, trial.base_lr, score) for trial, score in again.items()] == [
        (trial.identity, trial.params, trial.base_lr, score) for trial, score in scores.items()
    ]


def test_another_key_searches_elsewhere():
    first, second = (search(SPACES, budget(16), key=jax.random.key(seed))[0] for seed in (0, 1))
    assert not {trial.base_lr for trial in first} & {trial.base_lr for trial in second}


@pytest.mark.parametrize("count", [0, 20, 1000])
def test_while_all_runs_diverge_the_search_goes_on_with_draws(count):
    numbers = itertools.count()

    def evaluate(trials):
        return {
            trial: math.inf if next(numbers) < count else score
            for trial, score in BOWL.evaluate(trials).items()
        }

    scores, _ = search(SPACES, budget(runs=32, rounds=1), evaluate)
    assert len(scores) == 36
    drawn, _ = search(SPACES, budget(runs=32), diverged)
    same = [
        trial.base_lr == other.base_lr and trial.params == other.params
        for trial, other in zip(scores, drawn, strict=False)
    ]
    assert same == [place < (16 if count == 0 else 24 if count == 20 else 32) for place in range(32)]


@pytest.mark.parametrize("names", [("linear",), ("two_point_linear",), ("two_point_linear", "free")])
def test_any_families_can_be_searched(names):
    # those of many parameters too, where there are none of few
    scores, _ = search(spaces(*names), budget(runs=24, rounds=1))
    assert len(scores) == 24 + 2 * len(names)
    assert np.isfinite(list(scores.values())).all()


FEW = ("linear", "cosine", "constant", "rex", "power", "sqrt", "wsd", "exponential")


@pytest.mark.parametrize("count", range(1, len(FEW) + 1))
def test_the_first_draws_of_each_family_are_spread_over_the_learning_rates(count):
    # a sequence whose points are dealt to the families by turns gives to each a part of the rates alone
    fields = spaces(*FEW[:count])
    scores, _ = search(fields, budget(runs=64), diverged)
    for name, space in fields.items():
        rates = [
            space.learning_rates.to_unit(trial.base_lr)
            for trial in scores
            if trial.candidate.family.name == name
        ]
        assert abs(len(rates) - 64 / count) <= 2
        quarters = np.bincount((4 * np.array(rates)).astype(int), minlength=4)
        assert quarters.min() >= len(rates) / 4 - 2


def test_a_pools_curves_are_those_that_are_run():
    space, points = SPACES["wsd"], np.random.default_rng(0).random((65, 4)).astype(np.float32)
    computed = curves_at(space, points, NUM_STEPS)
    assert computed.shape == (65, NUM_STEPS)
    for place, candidate in enumerate(space.candidates(points, 0)):
        own = Trial("", candidate, NUM_STEPS, 0).learning_rates
        np.testing.assert_allclose(computed[place], own, rtol=1e-5, atol=1e-8)


def test_without_a_model_candidates_rank_by_their_lowest_score():
    candidates = SPACES["linear"].candidates(np.random.default_rng(0).random((3, 2)), 0)
    scores = {
        Trial("", candidates[number], NUM_STEPS, replicate): score
        for number, replicate, score in [(0, 0, 3.0), (1, 0, math.inf), (2, 0, 2.0), (0, 1, 1.0)]
    }
    assert [candidate.number for candidate in ranked(scores, None)] == [0, 2, 1]


def test_no_candidate_of_a_pool_is_proposed_twice_in_a_batch():
    scores, _ = searched()
    for replicate in range(5):
        asked = [(t.base_lr, *t.params.values()) for t in scores if t.replicate == replicate]
        assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_a_score_that_is_none_is_refused(score):
    with pytest.raises(ValueError, match="a score must be a number"):
        search(SPACES, budget(8), lambda trials: dict.fromkeys(trials, score))


@pytest.mark.parametrize(
    ("name", "value"), [("runs", 0), ("batch", 1), ("rounds", -1), ("top", 0), ("num_steps", 0)]
)
def test_a_budget_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least {value + 1}, got {value}"):
        Exploration(**{**vars(budget(8)), name: value})
