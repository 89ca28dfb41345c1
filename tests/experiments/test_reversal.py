"""The study of reversals: which orders count, its runs against a plain loop, its shares from the journal."""

import itertools
import json
import zlib

import jax
import numpy as np
import pytest

import workloads
from experiments.reversal.orders import FIRST, REFERENCES, Contest, Share, choice, orders
from experiments.study.training.tuning import Setting, Tuned
from experiments.study.training.usual_shapes import USUAL_SHAPES
from schedules import FAMILIES
from schedules.search import Scale
from tests.experiments.journals import runs_of

STEPS, DIMENSION, BATCH = 20, 8, 4
LOW, HIGH = Setting(0, 0.1), Setting(2, 0.2)
SEEDS = np.array([0.0, 0.01, -0.01, 0.02, 0.03, -0.02, 0.0, 0.01])

pytestmark = pytest.mark.xdist_group("reversal")


def contest(table):
    """{family: (best setting, score at LOW, at HIGH)} → what they come to, with the noise of eight seeds."""
    tuned = {family: Tuned(best, True, {}, np.empty(0)) for family, (best, *_) in table.items()}
    scores = {
        (family, setting): score + SEEDS
        for family, (_, *levels) in table.items()
        for setting, score in zip((LOW, HIGH), levels, strict=True)
    }
    return Contest(tuned, scores, Scale.ABSOLUTE, 0.95)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_usual_shapes_are_in_their_spaces_and_reach_their_peak(family):
    shape = USUAL_SHAPES[family]
    assert all(value in FAMILIES[family].space[name] for name, value in shape.items())
    multipliers = np.asarray(FAMILIES[family].multipliers(shape, 1000))
    assert multipliers.max() > 0.99
    assert multipliers[0] < 0.3  # all rise


def test_an_order_reverses_surely_where_both_are_beyond_their_intervals():
    """linear is best at the high rate; there cosine, whose own rate is the low one, is worse."""
    found = contest({"cosine": (LOW, 1.0, 3.0), "linear": (HIGH, 4.0, 2.0), "rex": (LOW, 1.0, 3.0)})
    by_pair = {pair.families: pair for pair in orders(found, FIRST)}
    assert set(by_pair) == set(itertools.permutations(("cosine", "linear", "rex"), 2))
    assert by_pair["linear", "cosine"].surely_reversed  # cosine better by 1, at linear's rate worse by 1
    assert by_pair["linear", "cosine"].retuned.value == pytest.approx(-1)
    assert by_pair["linear", "cosine"].untuned.value == pytest.approx(1)
    assert not by_pair["cosine", "linear"].reversed  # better at its own rate too
    assert not by_pair["cosine", "rex"].sure  # equal
    assert Share.of(orders(found, FIRST)) == (6, 4, 2, 2)
    assert Share.of(orders(found, REFERENCES)) == (3, 2, 0, 0)


def test_a_reversal_within_the_noise_is_one_of_medians_alone():
    found = contest({"cosine": (LOW, 1.0, 1.0), "linear": (HIGH, 1.1, 1.0)})
    noisy = found._replace(scores=found.scores | {("linear", HIGH): 0.999 + SEEDS[::-1]})
    assert Share.of(orders(noisy, FIRST)) == (2, 0, 0, 1)  # at cosine's rate linear is worse by 0.1


def test_a_shape_that_diverges_at_the_others_rate_has_lost_there():
    found = contest({"cosine": (LOW, 1.0, np.inf), "linear": (HIGH, 3.0, 2.0)})
    pair = next(pair for pair in orders(found, FIRST) if pair.families == ("linear", "cosine"))
    assert pair.surely_reversed
    assert pair.untuned == (np.inf, np.inf, np.inf)


def test_the_choice_at_the_references_rate_and_its_cost():
    found = contest({"cosine": (LOW, 3.0, 3.5), "linear": (HIGH, 4.0, 1.0), "rex": (LOW, 2.0, 2.5)})
    chosen = choice(found)
    assert (chosen.retuned, chosen.untuned) == ("linear", "rex")
    assert chosen.cost.value == pytest.approx(1)
    assert (chosen.lowest_rate, chosen.highest_rate) == (0.1, 0.2)


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("reversal").folder


def plain_loss(run):
    """The loss at the end of a row of the journal, by a plain loop in float64."""
    family = run["group"].removeprefix("sgd ")
    rates = run["base_lr"] * np.asarray(FAMILIES[family].multipliers(run["params"], STEPS), np.float64)
    key = jax.random.fold_in(jax.random.key(0), zlib.crc32(run["stage"].encode()))
    init, order, _, _ = jax.random.split(jax.random.fold_in(key, run["replicate"]), 4)
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    root, weights = np.asarray(workload.data, np.float64), np.asarray(workload.init(init), np.float64)
    for rate, rows in zip(rates, np.asarray(workload.indices(order, BATCH, STEPS)), strict=True):
        weights = weights - rate * DIMENSION * root[rows].T @ (root[rows] @ weights) / BATCH
    return np.mean((root @ weights) ** 2) / 2


def test_runs_are_plain_loops_over_the_usual_shapes(folder):
    runs = runs_of(folder)
    assert len({run["group"] for run in runs[::9]}) == 4
    for run in runs[::9]:
        assert run["params"] == USUAL_SHAPES[run["group"].removeprefix("sgd ")]
        assert run["score"] == pytest.approx(plain_loss(run), rel=1e-4)


def test_the_shares_are_those_of_the_journals_medians(folder):
    scores, best = {}, {}
    for run in runs_of(folder):
        place = run["stage"], run["group"], run["base_lr"]
        scores.setdefault(place, {})[run["replicate"]] = run["score"]
    screened = {
        place[1:]: np.median([*seeds.values()]) for place, seeds in scores.items() if place[0] == "screen"
    }
    for name in {name for name, _ in screened}:
        best[name] = min((rate for other, rate in screened if other == name), key=lambda r: screened[name, r])
    confirmed = {
        place[1:]: np.array([seeds[seed] for seed in sorted(seeds)])
        for place, seeds in scores.items()
        if place[0] == "confirm"
    }
    assert len({*best.values()}) > 1
    assert set(confirmed) == set(itertools.product(best, set(best.values())))

    def change(first, second, rates):
        with np.errstate(invalid="ignore"):
            return np.median(confirmed[second, rates[1]] / confirmed[first, rates[0]] - 1)

    pairs = list(itertools.permutations(best, 2))
    reversed_at = [change(a, b, (best[a], best[b])) * change(a, b, (best[a], best[a])) < 0 for a, b in pairs]
    shares = json.loads((folder / "winners.json").read_text())["shares"]
    assert (shares[0]["compared"], shares[0]["nominally_reversed"]) == (len(pairs), sum(reversed_at))
    common = best["sgd cosine"]
    reversed_at = [
        change(a, b, (best[a], best[b])) * change(a, b, (common, common)) < 0
        for a, b in itertools.combinations(best, 2)
    ]
    assert (shares[1]["compared"], shares[1]["nominally_reversed"]) == (len(reversed_at), sum(reversed_at))
