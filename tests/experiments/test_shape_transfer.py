"""Shapes trained where they were not found: on settings whose best shapes, rates and costs are known."""

import math
from collections import Counter

import numpy as np
import pytest

from experiments.shape_dependence.costs import changed, cost_claims, verdict
from experiments.shape_dependence.transfer import MORE_RATES, RATES, transfer
from schedules import FAMILIES
from schedules.search import Budget, Candidate, Estimate, Race, Rung, median_change

STEPS = 10
BUDGET = Budget(4, 4, Race((Rung(1, STEPS),)), 1, select_replicates=3, confirm_replicates=41)
WARMUPS = {"a": 0.0, "b": 0.1, "c": 0.4}  # the best shape of each setting
CURVATURE = 5.0


def shape(warmup, base_lr=0.25, family="constant"):
    return Candidate(FAMILIES[family], 0, {"warmup": warmup}, base_lr)


SHAPES = {name: shape(warmup) for name, warmup in WARMUPS.items()}


class Setting:
    """Scores (1 + c·(warmup - best)²) · (1 + log₂²(lr / best lr)) · a luck that belongs to stage and
    replicate; the best rate depends on the shape, by whole places of the grid."""

    def __init__(self, best, places=lambda warmup: -9):
        self.best, self.places, self.asked = best, places, []

    def cost(self, warmup):
        return 1 + CURVATURE * (warmup - self.best) ** 2

    def __call__(self, trials):
        self.asked += trials
        return {trial: self.score(trial) for trial in trials}

    def score(self, trial):
        warmup = trial.params["warmup"]
        distance = math.log2(trial.base_lr) - self.places(warmup) / 4
        luck = 1 + np.random.default_rng([len(trial.stage), trial.replicate]).exponential()
        return self.cost(warmup) * (1 + distance**2) * luck


@pytest.mark.parametrize("own", WARMUPS)
@pytest.mark.parametrize("offset", [-5, 0, 4])
def test_costs_and_rates_are_those_of_the_closed_form(own, offset):
    setting = Setting(WARMUPS[own], lambda warmup: -9 + offset + round(10 * warmup))
    found = transfer(own, SHAPES, BUDGET, setting)
    assert list(found) == list(SHAPES)
    for name, warmup in WARMUPS.items():
        assert found[name].bracketed
        assert found[name].candidate.params == {"warmup": warmup}
        assert math.log2(found[name].candidate.base_lr) * 4 == pytest.approx(setting.places(warmup))
        change = median_change(found[name].scores, found[own].scores)
        assert change.value == pytest.approx(setting.cost(warmup) - 1, abs=1e-12)


def test_a_rate_beyond_those_tried_is_reported_as_such():
    assert not transfer("a", SHAPES, BUDGET, Setting(0.0, lambda warmup: 40))["a"].bracketed


def test_every_shape_costs_the_same_runs_and_the_confirming_seeds_are_fresh_and_shared():
    setting = Setting(0.0)
    found = transfer("a", SHAPES, BUDGET, setting)
    stages = {"retune a": RATES * 3, "compare a": 41}
    runs = Counter((t.stage, t.params["warmup"]) for t in setting.asked)
    assert runs == {(stage, warmup): n for stage, n in stages.items() for warmup in WARMUPS.values()}
    assert len({trial.identity for trial in setting.asked}) == len(setting.asked)
    assert {trial.num_steps for trial in setting.asked} == {STEPS}
    # the luck of a replicate cancels exactly: all shapes had the same
    ratios = found["c"].scores / found["a"].scores
    assert ratios == pytest.approx(np.full(41, setting.cost(0.4)), rel=1e-12)


def test_no_shape_is_privileged_by_the_rate_it_was_found_with():
    """All have the same best rate, off the grid; that one of them was found with it changes nothing."""
    own = {name: shape(warmup, base_lr=2**-2.1) for name, warmup in WARMUPS.items()}
    found = transfer("b", own, BUDGET, Setting(0.1, lambda warmup: -8.4))
    assert len({tried.candidate.base_lr for tried in found.values()}) == 1
    assert median_change(found["a"].scores, found["b"].scores).value == pytest.approx(0.05, abs=1e-12)


def test_rates_are_first_tried_where_all_shapes_have_the_sum_of_the_settings_own():
    """A linear decay over ten steps sums to 5.5, a constant to 10: its rates are 0.55 times as high."""
    setting = Setting(0.0)
    shapes = {"flat": shape(0.0, 0.5), "falling": shape(0.0, 0.1, "linear")}
    transfer("falling", shapes, BUDGET, setting)
    first = setting.asked[: len(shapes) * (RATES - MORE_RATES) * 3]
    for family, expected in (("linear", 0.1), ("constant", 0.055)):
        rates = [math.log2(trial.base_lr) for trial in first if trial.candidate.family.name == family]
        assert abs(np.median(rates) - math.log2(expected)) <= 1 / 8


def test_a_shape_that_always_diverges_is_infinitely_worse_and_a_diverging_own_one_compares_with_none():
    class Diverging(Setting):
        def score(self, trial):
            return math.inf if trial.params["warmup"] == 0.4 else super().score(trial)

    found = transfer("a", SHAPES, BUDGET, Diverging(0.0))
    assert median_change(found["c"].scores, found["a"].scores).value == math.inf
    assert not found["c"].bracketed
    assert math.isnan(median_change(found["a"].scores, found["c"].scores).value)


def matrix(**costs):
    """trained_in__shape_of=(value, low, high)."""
    names = sorted({part for key in costs for part in key.split("__")})
    return {
        setting: {name: Estimate(*costs[f"{setting}__{name}"]) for name in names if name != setting}
        for setting in names
    }


WORSE = (0.2, 0.1, 0.3)
UNSURE = (0.05, -0.05, 0.2)
VAGUE = (0.0, -0.2, 0.2)
BETTER = (-0.2, -0.3, -0.1)
REST = {"b__c": UNSURE, "c__b": UNSURE}


@pytest.mark.parametrize(
    ("forth", "back", "held", "doubtful"),
    [
        (WORSE, WORSE, True, False),
        (WORSE, UNSURE, True, False),  # 1.1 · 0.95 > 1
        (WORSE, VAGUE, False, True),  # 1.1 · 0.8 < 1
        (WORSE, BETTER, False, True),
        (UNSURE, WORSE, False, False),
        (BETTER, WORSE, False, False),
    ],
)
def test_a_cost_counts_where_a_better_find_does_not_explain_it(forth, back, held, doubtful):
    costs = matrix(b__a=forth, a__b=back, c__a=UNSURE, a__c=UNSURE, **REST)
    assert changed(costs, "a") == (["b"] if held else [])
    sentence = verdict(costs, "a", "b1")
    assert ("held for 1 of 2 settings; in b, a's" in sentence) is held
    assert ("did NOT hold" in sentence) is not held
    assert ("also costs in b" in sentence) is doubtful


def test_each_claim_has_its_own_interval_and_the_verdict_the_largest_effect():
    costs = matrix(b__a=WORSE, a__b=(0.1, 0.05, 0.15), c__a=(0.4, 0.3, 0.5), a__c=VAGUE, **REST)
    claims = {(claim.subject, claim.statement): claim for claim in cost_claims(costs, "a")}
    expected = {
        ("b", "cost of a's shape there"): (WORSE, True),
        ("b", "cost of its shape in a"): ((0.1, 0.05, 0.15), True),
        ("b", "both together"): ((0.32, 0.155, 0.495), True),
        ("c", "cost of a's shape there"): ((0.4, 0.3, 0.5), True),
        ("c", "cost of its shape in a"): (VAGUE, False),
        ("c", "both together"): ((0.4, 0.04, 0.8), True),
    }
    assert set(claims) == set(expected)
    for key, (effect, held) in expected.items():
        assert claims[key].effect == pytest.approx(effect)
        assert claims[key].held is held
    sentence = verdict(costs, "a", "b1")
    assert (
        "a's shape costs +40.0 % [+30.0, +50.0] in c, whose own costs +0.0 % [-20.0, +20.0] in a" in sentence
    )
    assert "in the median setting a's shape costs +30.0 %" in sentence


def test_an_undefined_cost_shows_nothing():
    costs = matrix(b__a=(math.nan,) * 3, a__b=WORSE, c__a=UNSURE, a__c=UNSURE, **REST)
    assert changed(costs, "a") == []
    assert "in c, whose own" in verdict(costs, "a", "b1")


@pytest.mark.parametrize(
    ("quality", "least", "most"),
    [
        ([[1.0, 1.0], [1.0, 1.0]], 0, 1),
        ([[1.05, 1.0], [1.05, 1.0]], 0, 1),  # the second shape is the better find
        ([[1.0, 1.1], [1.3, 1.0]], 19, 20),  # each is better at home
        ([[1.0, 1.0], [1.3, 1.0]], 19, 20),  # only there does it matter
    ],
)
def test_over_repetitions_the_verdict_is_right_about_shapes_of_known_quality(quality, least, most):
    """Setting × shape, with luck that the shapes share and noise that they do not; 20 repetitions."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(20):
        luck = rng.exponential(size=(2, 1, 60)) + 1
        home, abroad = luck * (1 + 0.05 * rng.normal(size=(2, 2, 60))) * np.array(quality)[..., None]
        costs = {"a": {"b": median_change(home[1], home[0])}, "b": {"a": median_change(abroad[0], abroad[1])}}
        held += bool(changed(costs, "a"))
    assert least <= held <= most
