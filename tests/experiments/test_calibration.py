"""The simulated landscapes of the calibration, and its small form."""

import numpy as np
import pytest

from experiments.calibration import landscapes
from experiments.calibration.command import Options, bounded
from experiments.calibration.landscapes import ALL, KINDS, NUM_STEPS, Landscape
from schedules.search import Trial
from schedules.search.pool import pool_of


@pytest.fixture(autouse=True)
def few_descents(monkeypatch):
    """They find the lowest level as well."""
    monkeypatch.setattr(landscapes, "DESCENTS", 2)


def test_the_lowest_level_of_a_bowl_is_zero():
    assert Landscape.of("bowl", 3, positive=True).lowest([]) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_no_drawn_curve_is_below_the_lowest(kind):
    landscape = Landscape.of(kind, 2, positive=False)
    drawn = pool_of(ALL, [], 500, NUM_STEPS, np.random.default_rng(99))
    assert landscape.lowest([]) < np.min(landscape.levels(drawn.curves)) + 1e-3


def test_scores_are_levels_with_luck_and_positive_ones_their_exponentials():
    (candidate,) = ALL["linear"].candidates(np.array([[0.5, 0.5]], np.float32), 0)
    trials = [Trial("screen", candidate, NUM_STEPS, seed) for seed in range(400)]
    positive, signed = (
        np.array(list(Landscape.of("bowl", 1, sign).evaluate(trials).values())) for sign in (True, False)
    )
    np.testing.assert_allclose(np.log(10 * positive), signed + 1)
    level = Landscape.of("bowl", 1, positive=False).level(candidate)
    assert abs(np.mean(signed) + 1 - level) < 4 * np.hypot(0.1, 0.05) / 20
    assert np.std(signed) == pytest.approx(np.hypot(0.1, 0.05), rel=0.15)


@pytest.mark.parametrize("positive", [True, False])
def test_the_bound_holds_the_truth_on_a_bowl(positive):
    result = bounded(Landscape.of("bowl", 0, positive), Options(explored=24, challenged=32))
    assert 0 <= result.truth <= result.bound
