"""What growing batches save, what their runs cost, and the claims about them, from made-up runs."""

import numpy as np
import pytest

from experiments.adaptive_batch_size.config import Config, Contestant
from experiments.adaptive_batch_size.findings import claims_about
from experiments.adaptive_batch_size.outcome import (
    Confirmed,
    Curves,
    Pace,
    Timing,
    common_level,
    costs_to,
    outcomes_of,
    saving,
)
from experiments.study.training.tuning import Setting, Tuned
from schedules.search import Scale

CONFIG = Config(small_batch=8, large_batch=48, parts=2, samples=384, curve_points=4)


def made_up(heights, updates):
    """Forty seeds a factor of up to 1.1 apart whose losses and updates go through these points."""
    losses = np.linspace(1, 1.1, 40)[:, None] * np.array(heights)[None, :]
    counts = np.tile(np.array(updates, float), (40, 1))
    return Curves(losses, counts, *4 * [np.ones_like(losses)])


def test_savings_of_curves_with_a_known_crossing():
    losses = np.array([[4.0, 2.0, 1.0], [4.0, 3.0, 2.5]])
    costs = np.array([[0.0, 10.0, 30.0], [0.0, 10.0, 30.0]])
    assert costs_to(losses, costs, 1.5).tolist() == [20, np.inf]
    assert common_level([losses, np.full((4, 3), 2.75)]) == 2.75
    assert common_level([losses, np.full((4, 3), 0.5)]) == 2.5
    paired = saving(np.array([20.0, 30, 40, 50, 60, 70]), np.array([80.0, 120, 160, 200, 240, 280]), 0.95)
    np.testing.assert_allclose(paired, 0.75)  # at each seed, so that its interval has no width
    spread = saving(np.array([10.0, 20, 20, 20, 20, 30]), np.full(6, 40.0), 0.95)
    assert (spread.value, spread.low, spread.high) == (0.5, 0.25, 0.75)  # of six seeds, all: 1 - 2/2⁶ ≥ 0.95
    never = np.full(6, np.inf)
    assert saving(never, np.full(6, 9.0), 0.95).value == -np.inf
    assert saving(np.full(6, 9.0), never, 0.95).value == 1
    assert saving(never, never, 0.95).value == 0


def test_each_noise_scale_has_its_own_theta():
    config = Config(euclidean_theta=0.45, matched_theta=0.55)
    driven = {name: Contestant("muon", name).controller(config) for name in ("Euclidean", "matched")}
    found = {name: (controller.geometry.name, controller.theta) for name, controller in driven.items()}
    assert found == {"Euclidean": ("euclidean", 0.45), "matched": ("spectral", 0.55)}


def test_a_pace_tells_what_a_microbatch_an_update_and_measuring_take():
    micro, update = 0.002, 0.01
    slow = np.array([1.0, 2.0, 1.5])  # the machine's speed at each repeat

    def seconds(updates, measuring=1.0):
        return tuple(slow * measuring * (48 * micro + updates * update))

    found = Timing(seconds(10, 1.2), 10, seconds(48), seconds(8)).pace(CONFIG)
    assert found.microbatch == pytest.approx(1.5 * micro)
    assert found.update == pytest.approx(1.5 * update)
    np.testing.assert_allclose(found.overhead, 0.2)
    gone = found.along(np.array([0.0, 12.0, 48.0]), np.array([[0.0, 9.0, 10.0]]))
    share = (12 * micro + 9 * update) / (48 * micro + 10 * update)
    np.testing.assert_allclose(gone, found.run * np.array([[0, share, 1]]))
    constant = Timing(seconds(48), 48).pace(CONFIG)
    gone = constant.along(np.array([12.0, 48.0]), np.array([[12.0, 48.0]]))
    np.testing.assert_allclose(gone, [[constant.run / 4, constant.run]])
    assert constant.run == pytest.approx(1.5 * 48 * (micro + update))


def outcomes(**heights):
    """Made-up runs of signum: final losses by strategy, each reached in a straight line from 4."""
    ends = {"small": 24, "large": 6, "Euclidean": 12, "matched": 8}
    setting, pace = Setting(0, 0.1, 0.0), Pace(1.0, 1.0, 0.0, None)
    examples = np.linspace(0, 48, 5)

    def confirmed(strategy, updates):
        curves = made_up(np.linspace(4, heights[strategy], 5), np.linspace(0, updates, 5))
        tuned = Tuned(setting, True, {setting: 1.0}, curves.losses[:, -1])
        seconds = pace.along(examples, curves.updates)
        return Confirmed(Contestant("signum", strategy), tuned, curves, seconds, pace)

    return outcomes_of({s: confirmed(s, updates) for s, updates in ends.items()}, Scale.RELATIVE, CONFIG)


def test_claims_say_what_made_up_runs_are():
    found = outcomes(small=1.0, large=2.0, Euclidean=1.0, matched=1.0)
    assert found["small"].level == pytest.approx(1 + 0.1 * 35 / 39)  # where 36 of forty seeds arrive
    effects = {
        "share of small's updates saved at equal test_loss by matched": (2 / 3, True),
        "share of Euclidean's updates saved there by matched": (1 / 3, True),
        "change of final test_loss from small to matched": (0, True),
        "change of final test_loss from Euclidean to matched": (0, False),
        "change of final test_loss from Euclidean to large": (1, True),
        "change of final test_loss from matched to large": (1, True),
    }
    claims = claims_about("signum", found, Scale.RELATIVE, CONFIG)
    assert {c.statement: bool(c.held) for c in claims} == {name: held for name, (_, held) in effects.items()}
    for claim in claims:
        assert claim.effect.value == pytest.approx(effects[claim.statement][0], abs=1e-9), claim.statement
    assert (found["large"].not_reached, found["matched"].not_reached) == (40, 4)
    assert found["matched"].saved.updates_in_all.value == pytest.approx(2 / 3)
    assert found["matched"].saved.seconds.value == pytest.approx(0, abs=1e-9)  # equal time for equal examples


def test_claims_fail_where_their_numbers_do():
    found = outcomes(small=1.0, large=0.9, Euclidean=0.5, matched=2.0)
    claims = claims_about("signum", found, Scale.RELATIVE, CONFIG)
    assert {claim.statement for claim in claims if claim.held} == {
        "share of small's updates saved at equal test_loss by matched",
        "change of final test_loss from Euclidean to large",
    }
    effects = {claim.statement: claim.effect.value for claim in claims}
    # to fall by one takes the small batch 24/3 updates, the Euclidean 12/3.5 and the matched 8/2
    assert effects["share of small's updates saved at equal test_loss by matched"] == pytest.approx(1 / 2)
    assert effects["share of Euclidean's updates saved there by matched"] == pytest.approx(1 - 3.5 / 3)
    assert effects["change of final test_loss from small to matched"] == pytest.approx(1)
    assert effects["change of final test_loss from matched to large"] == pytest.approx(0.9 / 2 - 1)
