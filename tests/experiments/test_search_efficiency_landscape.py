"""A small study of searches on a landscape without noise, against plain NumPy on its journal."""

import json

import jax
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from experiments.search_efficiency import STUDY
from experiments.search_efficiency.config import DEFAULT, RANDOM
from experiments.search_efficiency.searches import Search
from schedules import FAMILIES, Interval
from schedules.search import STRATEGIES, SearchSpace
from tests.experiments.journals import runs_of

STEPS, DIMENSION, BATCH, TOLERANCE = 20, 8, 4, 0.9

pytestmark = pytest.mark.xdist_group("search_efficiency_landscape")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("search_efficiency_landscape").folder


@pytest.fixture(scope="module")
def rows(folder):
    return runs_of(folder)


def numpy_loss(params, base_lr):
    """The mean field's loss at the end of a two-point spline, in float64."""
    x0, y1 = params["x0"], params["y1"]
    x1 = x0 + params["dx1"] * (1 - x0)
    x2 = x1 + params["dx2"] * (1 - x1)
    knots = np.array([x0, x1, x2, 1]) + 1e-9 * np.arange(4)  # a descent may end where they coincide
    decay = PchipInterpolator(knots, [1, y1, params["dy2"] * y1, 0])
    spectrum = 1 / np.arange(1, DIMENSION + 1)
    spectrum /= spectrum.sum()
    p = 1 / spectrum
    for x in np.arange(STEPS) / STEPS:
        rate = base_lr * (x / x0 if x < x0 else decay(x))
        noise = (1 / BATCH - 1 / DIMENSION) * spectrum * (spectrum @ p)
        p = (1 - rate * spectrum) ** 2 * p + rate**2 * noise
    return spectrum @ p / (2 * DIMENSION)


def test_the_landscape_is_the_mean_field(rows):
    for row in rows:
        assert row["score"] == pytest.approx(numpy_loss(row["params"], row["base_lr"]), rel=1e-3)
    assert {row["stage"] for row in rows} >= {"random 0", "trust_region 1", "polish"}


def test_the_journal_holds_every_candidate_that_improved_a_search(rows):
    space = SearchSpace(FAMILIES["two_point_spline"], Interval(0.25, 4.0, log=True))
    strategy = STRATEGIES["random"](space.dimensions, 256)
    key = Search("two_point_spline", "random", 1).key(jax.random.key(0))
    candidates = space.candidates(strategy.ask(strategy.init(key)), 0)
    losses = [numpy_loss(candidate.params, candidate.base_lr) for candidate in candidates]
    expected = [k for k in range(256) if k == 255 or losses[k] < min(losses[:k], default=np.inf)]
    assert [row["number"] for row in rows if row["stage"] == "random 1"] == expected


def test_costs_on_the_landscape_are_evaluations_until_the_tolerance(rows, folder):
    content = json.loads((folder / "winners.json").read_text())
    best = min(row["score"] for row in rows)
    assert any(cost for entry in content["strategies"] for cost in entry["costs"])
    assert content["best_known"]["two_point_spline"]["score"] == best
    assert min(row["score"] for row in rows if row["stage"] == "polish") <= 1.001 * best
    for entry in content["strategies"]:
        for seed, cost in enumerate(entry["costs"]):
            reached = [
                row["number"] + 1
                for row in rows
                if row["stage"] == f"{entry['strategy']} {seed}" and row["score"] <= (1 + TOLERANCE) * best
            ]
            assert cost == (min(reached) if reached else None)
    assert content["selection_bias"] is None


def test_random_search_may_take_longer_than_the_default_strategy():
    for name in ("landscape", "digits"):
        preset = STUDY.presets[name]
        assert preset.budgets[DEFAULT] < preset.budgets[RANDOM]
