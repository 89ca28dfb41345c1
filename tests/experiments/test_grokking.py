"""Grokking: when a run fits and generalises, what is censored, and the claims of outcomes made by hand."""

import math

import numpy as np
import pytest

from experiments.grokking.config import Config, Contestant
from experiments.grokking.findings import claims
from experiments.grokking.runs import Outcome, Results, columns
from experiments.study.training.tuning import Setting, Tuned

CONFIG = Config(num_steps=100, curve_points=4)


def test_a_run_is_scored_by_when_it_generalises_or_by_its_error():
    """Linear between evaluations; what never does is beyond the horizon, the nearer the less it errs."""
    metrics = {
        "train_error": np.array([[0.51, 0.01, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5]]),
        "test_error": np.array([[1.0, 1.0, 0.51, 0.0], [1.0, 1.0, 1.0, 0.6]]),
    }
    found = columns(CONFIG, metrics)
    np.testing.assert_allclose(found["fitted"], [50, math.inf])
    np.testing.assert_allclose(found["generalised"], [75 + 25 * 0.5 / 0.51, math.inf])
    np.testing.assert_allclose(found["steps"], [75 + 25 * 0.5 / 0.51, 160])
    np.testing.assert_allclose(found["test_error@75"], [0.51, 1.0])


def outcome(optimizer, remedy, fitted, generalised, test_error=0.0):
    scores = np.asarray(generalised, float)
    tuned = Tuned(Setting(0, 0.01), True, {}, scores)
    errors = {name: np.full((len(scores), 4), test_error) for name in ("train_error", "test_error")}
    return Outcome(Contestant(optimizer, remedy, 0.0), tuned, np.asarray(fitted, float), scores, errors)


def test_delays_are_from_fitting_to_generalising_and_never_below_0():
    found = outcome("adamw", "decay", [10, 10, 30, math.inf], [50, math.inf, 20, math.inf])
    np.testing.assert_array_equal(found.delays, [40, math.inf, 0, math.inf])


def judged(*outcomes):
    found = {(o.contestant.optimizer, o.contestant.remedy): o for o in outcomes}
    optimizers, remedies = (tuple(dict.fromkeys(names)) for names in zip(*found, strict=True))
    config = Config(optimizers=optimizers, remedies=remedies, num_steps=100, curve_points=4)
    return {(c.statement, c.subject): c for c in claims(Results(config, found, None))}


def test_claims_are_of_shares_of_seeds_and_of_differences_in_steps():
    seeds, late = np.arange(8.0), np.full(8, math.inf)
    found = judged(
        outcome("adamw", "none", 10 + seeds, late, 0.9),
        outcome("adamw", "float64", 10 + seeds, late, 0.7),
        outcome("adamw", "orthogonal", 10 + seeds, 30 + seeds),
        outcome("adamw", "decay", 10 + seeds, 60 + 2 * seeds),
    )
    assert found["share of seeds that generalise without a remedy", "adamw none"].held
    assert not found["share of seeds that generalise with a remedy", "adamw float64"].held
    assert found["share of seeds that generalise with a remedy", "adamw orthogonal"].effect.low > 0.6
    delay = found["steps between, difference from weight decay", "adamw orthogonal"]
    assert delay.held
    assert delay.effect.value == pytest.approx(20 - (50 + np.median(seeds)))
    assert found["test error by float64, difference from float32", "adamw"].effect.value == pytest.approx(
        -0.2
    )


def test_what_never_generalises_is_compared_as_later_than_all():
    seeds, late = np.arange(8.0), np.full(8, math.inf)
    found = judged(
        outcome("adamw", "decay", seeds, 50 + seeds),
        outcome("adamw", "stablemax", seeds, late),
        outcome("muon", "decay", seeds, late),
        outcome("muon", "stablemax", seeds, 40 + seeds),
    )
    stablemax = found["steps between, difference from weight decay", "adamw stablemax"]
    assert stablemax.effect.value == math.inf
    assert not stablemax.held
    assert math.isnan(found["steps between, difference from weight decay", "muon stablemax"].effect.value)
    assert not found["steps between, difference of muon from adamw", "decay"].held
