"""Curves of two groups of parameters: their tables, what the model sees, and searches of ratio and shapes."""

import math

import jax
import numpy as np
import pytest

from schedules import FAMILIES, CurveModel, Interval
from schedules.groups import grouped_as, in_groups
from schedules.search import Candidate, CheckBudget, SearchSpace, Trial, check_winners
from schedules.search import asynchronous as stages
from schedules.search.asynchronous import History, RunBudget, next_step
from schedules.search.curve_functions import Functions
from schedules.search.curves import Exploration, explore, model_of, ranked
from schedules.search.near_optimality import free_start
from schedules.search.pool import curves_at
from schedules.search.procedure import Winner
from tests.schedules.dense_process import (
    Truth,
    height_slope,
    heights_of,
    posterior,
    segment_logarithms,
    values_of,
)
from tests.schedules.landscapes import NUM_STEPS, Bowl, logarithms

pytestmark = pytest.mark.usefixtures("one_thread")
RATIOS = Interval(1e-2, 1e2, log=True)
SPACES = {
    name: SearchSpace(in_groups(FAMILIES[name], RATIOS), Interval(1e-2, 1.0, log=True))
    for name in ("linear", "wsd")
}
OWN_SHAPES = {
    name: SearchSpace(in_groups(FAMILIES[name], RATIOS, own_shapes=True), space.learning_rates)
    for name, space in SPACES.items()
}
KEY = jax.random.key(0)


@pytest.mark.parametrize("name", ["linear", "wsd", "free"])
def test_the_second_group_has_the_ratio_times_the_first_ones_table(name, draw):
    params = draw(name, seed=1)
    first, second = np.asarray(in_groups(FAMILIES[name], RATIOS).multipliers({**params, "ratio": 12.3}, 30))
    np.testing.assert_allclose(first, FAMILIES[name].multipliers(params, 30), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(second, 12.3 * first, rtol=1e-6)


@pytest.mark.parametrize("name", ["linear", "wsd", "free"])
def test_the_second_group_has_the_ratio_times_the_table_of_its_own_shape(name, draw):
    family = FAMILIES[name]
    first, second = draw(name, seed=1), draw(name, seed=2)
    params = {**first, **{f"second_{parameter}": value for parameter, value in second.items()}, "ratio": 12.3}
    found = np.asarray(in_groups(family, RATIOS, own_shapes=True).multipliers(params, 30))
    np.testing.assert_allclose(found[0], family.multipliers(first, 30), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[1], 12.3 * family.multipliers(second, 30), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found[1], 12.3 * found[0], rtol=0.1)


def test_the_cube_of_two_shapes_has_the_axes_of_both_then_the_ratio_and_the_rate():
    space, wsd = OWN_SHAPES["wsd"], FAMILIES["wsd"].space
    assert list(space.family.space) == [*wsd, *(f"second_{name}" for name in wsd), "ratio"]
    low, high, mixed = space.candidates(np.array([[0.0] * 8, [1.0] * 8, [0.0] * 3 + [1.0] * 5]), 0)
    for name, interval in wsd.items():
        own = [candidate.params[name] for candidate in (low, high, mixed)]
        second = [candidate.params[f"second_{name}"] for candidate in (low, high, mixed)]
        assert own == pytest.approx([interval.low, interval.high, interval.low])
        assert second == pytest.approx([interval.low, interval.high, interval.high])
    assert [low.params["ratio"], high.params["ratio"]] == pytest.approx([1e-2, 1e2])
    np.testing.assert_allclose(space.point(mixed), [0.0] * 3 + [1.0] * 5, atol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.inf, math.nan])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ValueError, match=r"linear: ratio must be in \(0, inf\)"):
        SPACES["linear"].family.multipliers({"warmup": 0.1, "ratio": ratio}, 5)


def test_a_pools_curves_are_those_that_are_run():
    points = np.random.default_rng(0).random((3, 5)).astype(np.float32)
    computed = curves_at(SPACES["wsd"], points, NUM_STEPS)
    assert computed.shape == (3, 2, NUM_STEPS)
    for place, candidate in enumerate(SPACES["wsd"].candidates(points, 0)):
        own = Trial("", candidate, NUM_STEPS, 0).learning_rates
        np.testing.assert_allclose(computed[place], own, rtol=1e-5, atol=1e-8)


def drawn_pairs(count, seed):
    """Of any two curves: the model asks for no shape that they share."""
    return np.exp(np.random.default_rng(seed).normal([[[-2.0], [-5.0]]], 0.7, (count, 2, 20)))


@pytest.fixture(scope="module")
def fitted():
    curves, seeds = drawn_pairs(24, seed=0), [number // 4 for number in range(24)]
    levels = np.log(curves.mean(axis=2) / [0.2, 0.005]) ** 2
    scores = np.exp(levels.sum(axis=1) + np.random.default_rng(1).normal(0, 0.1, 24))
    return curves, scores, seeds, CurveModel.fit(curves, scores, seeds)


def means_of(curves):
    return curves.mean(axis=1, keepdims=True)


def expected(fitted, queries):
    """Mean and covariance of the values of pairs, by the formula."""
    curves, scores, seeds, model = fitted
    unit_rate = np.median(curves[:, 0].max(axis=1))
    places, asked = (
        np.column_stack(
            [
                segment_logarithms(pairs[:, 0], unit_rate),
                np.log(pairs[:, 1].mean(axis=1)),
                np.subtract(
                    *(segment_logarithms(pairs[:, row] / means_of(pairs[:, row]), 1.0) for row in (1, 0))
                ),
            ]
        )
        for pairs in (curves, queries)
    )
    values = values_of(np.log(scores) - np.log(scores).min())
    return posterior(places, values, seeds, asked, Truth(*model.parameters))


def test_predictions_are_those_from_the_first_curve_the_seconds_mean_and_how_their_shapes_differ(fitted):
    queries, (_, scores, _, model) = drawn_pairs(9, seed=2), fitted
    mean, covariance = expected(fitted, queries)
    level, sd = model.predict(queries)
    np.testing.assert_allclose(level, np.log(scores).min() + heights_of(mean), atol=1e-6)
    np.testing.assert_allclose(sd, height_slope(mean) * np.sqrt(np.diag(covariance)), rtol=1e-5)


def test_drawn_functions_have_the_posteriors_mean(fitted):
    queries, (_, scores, _, model) = drawn_pairs(5, seed=2), fitted
    mean, covariance = expected(fitted, queries)
    drawn = values_of(Functions.of([model], 2000, KEY)(queries) - np.log(scores).min())
    error = np.sqrt(np.diag(covariance) / 2000)
    assert np.all(np.abs(drawn.mean(axis=0) - mean) < 5 * error)


def test_the_sensitivity_is_the_slope_in_a_segment_of_both_shapes_at_the_mean_of_the_second(fitted):
    (first, _), model = drawn_pairs(1, seed=3)[0], fitted[3]
    ends = np.stack([first, first])
    ends[:, 4:6] *= np.exp([[-1e-4], [1e-4]])
    lower, upper = model.means(np.stack([ends, 0.05 * ends * first.mean() / means_of(ends)], axis=1))
    slopes, deviations = model.sensitivity(np.stack([first, 0.05 * first]))
    assert slopes.shape == deviations.shape == (10,)
    assert slopes[2] == pytest.approx((upper - lower) / 2e-4, rel=1e-3)


class Pairs(Bowl):
    """A bowl in the first group's curve, with a valley in the mean rate of the second: lowest at a ratio."""

    def level(self, rates):
        shape = logarithms(rates[0]) - logarithms(self.best[0])
        return self.steepness * shape @ shape + 0.5 * math.log(rates[1].mean() / self.best[1].mean()) ** 2

    @classmethod
    def around(cls, ratio, **options):
        candidate = Candidate(SPACES["wsd"].family, 0, {**SHAPE, "ratio": ratio}, 0.2)
        return cls(Trial("", candidate, NUM_STEPS, 0).learning_rates, **options)


SHAPE = {"warmup": 0.1, "decay": 0.6, "floor": 0.0}


@pytest.mark.parametrize("ratio", [0.05, 5.0])
def test_the_search_finds_the_ratio(ratio):
    landscape = Pairs.around(ratio)
    scores = explore(SPACES, Exploration(48, 8, 0, 1, NUM_STEPS), KEY, landscape.evaluate)
    best = ranked(scores, model_of(scores))[0]
    rates = Trial("", best, NUM_STEPS, 0).learning_rates
    assert abs(math.log(rates[1].mean() / landscape.best[1].mean())) < math.log(
        1.3
    )  # of 1e4 that are searched
    assert landscape.truth(best) < math.log(1.1)  # a run's own luck is 11 %


class OwnShapes(Bowl):
    """A bowl in either group's curve."""

    def level(self, rates):
        distances = [logarithms(own) - logarithms(best) for own, best in zip(rates, self.best, strict=True)]
        return self.steepness * np.sum(np.square(distances))


def test_the_search_finds_two_shapes_that_differ():
    second = {"second_warmup": 0.0, "second_decay": 0.2, "second_floor": 0.5}
    best = Candidate(OWN_SHAPES["wsd"].family, 0, {**SHAPE, **second, "ratio": 2.0}, 0.2)
    landscape = OwnShapes(Trial("", best, NUM_STEPS, 0).learning_rates, steepness=0.5)
    levels = {}
    for name, space in (("shared", SPACES["wsd"]), ("own", OWN_SHAPES["wsd"])):
        budget = Exploration(96, 8, 0, 1, NUM_STEPS)
        scores = explore({"wsd": space}, budget, jax.random.key(3), landscape.evaluate)
        levels[name] = landscape.truth(ranked(scores, model_of(scores))[0])
    assert levels["own"] < math.log(1.3)
    assert levels["shared"] > math.log(2)  # what one shape for both costs


def test_a_free_curve_begins_with_the_shapes_of_both_groups():
    second = {"second_warmup": 0.0, "second_decay": 0.2, "second_floor": 0.5}
    winner = Candidate(OWN_SHAPES["wsd"].family, 3, {**SHAPE, **second, "ratio": 0.5}, 0.2)
    own = {name.removeprefix("second_"): value for name, value in second.items()}
    singles = [free_start(Candidate(FAMILIES["wsd"], 3, shape, 0.2)) for shape in (SHAPE, own)]
    start = free_start(winner)
    levels = [start.params[f"{prefix}level_{place}"] for prefix in ("", "second_") for place in range(8)]
    np.testing.assert_allclose(levels, [*singles[0].params.values(), *singles[1].params.values()], rtol=1e-6)
    assert start.base_lr == pytest.approx(singles[0].base_lr, rel=1e-6)
    assert start.params["ratio"] == pytest.approx(0.5 * singles[1].base_lr / singles[0].base_lr, rel=1e-6)


def test_a_free_curve_begins_with_the_winners_ratio():
    winner = Candidate(SPACES["wsd"].family, 3, {**SHAPE, "ratio": 0.5}, 0.2)
    start = free_start(winner)
    single = free_start(Candidate(FAMILIES["wsd"], 3, SHAPE, 0.2))
    assert start.proposal == {"params": {**single.params, "ratio": 0.5}, "base_lr": single.base_lr}
    first, second = Trial("", start, NUM_STEPS, 0).learning_rates
    np.testing.assert_allclose(second, 0.5 * first, rtol=1e-6)


@pytest.mark.parametrize(("spaces", "shapes"), [(SPACES, 1), (OWN_SHAPES, 2)])
def test_a_family_is_grouped_as_another_one_with_its_ratios_and_as_many_shapes(spaces, shapes):
    free = grouped_as(spaces["wsd"].family, FAMILIES["free"])
    assert free.space["ratio"] == RATIOS
    assert len(free.space) == 1 + shapes * len(FAMILIES["free"].space)


def test_a_challenge_keeps_to_the_groups(monkeypatch):
    monkeypatch.setattr(stages, "CHALLENGED", 40)
    budget, landscape = RunBudget(runs=120, num_steps=NUM_STEPS), Pairs.around(0.1)
    asked, told, outcome = [], {}, None
    while outcome is None:
        history = History(asked, told, np.empty((0, 2, NUM_STEPS)), np.empty(0))
        trials, outcome = next_step(SPACES, budget, KEY, history)
        asked += trials
        told |= {trial.identity: score for trial, score in landscape.evaluate(trials).items()}
    challengers = [trial for trial in asked if trial.stage == "challenge 0"]
    assert len({trial.candidate for trial in challengers}) > 1
    assert all(trial.learning_rates.shape == (2, NUM_STEPS) for trial in challengers)
    assert 0 < outcome.verdict.delta < 1


def test_a_check_keeps_to_the_groups_in_the_family_and_in_free():
    landscape = Pairs.around(0.1)
    candidate = Candidate(SPACES["wsd"].family, 0, {**SHAPE, "ratio": 0.4}, 0.2)
    winner = Winner(candidate, np.full(8, landscape.score(landscape.truth(candidate))))
    budget = CheckBudget(NUM_STEPS, rounds=1, sweep_values=3, sweep_rates=3, check_replicates=20)
    verdict = check_winners({"wsd": winner}, SPACES, budget, KEY, landscape.evaluate)["wsd"]
    assert [sweep.parameter for sweep in verdict.sweeps] == [*SHAPE, "ratio"]
    for finding in (verdict.own, verdict.free):
        assert finding.found.multipliers(NUM_STEPS).shape == (2, NUM_STEPS)
        assert finding.change.high < 0  # the winner's ratio is four times the best
