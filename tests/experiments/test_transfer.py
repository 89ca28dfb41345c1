"""The study of transfer: the law against SciPy and closed forms, and the study's numbers from its journal."""

import json
import zlib

import jax
import numpy as np
import pytest
from scipy import stats

import workloads
from experiments.study.training.tuning import Setting, Tuned
from experiments.study.training.usual_shapes import USUAL_SHAPES
from experiments.transfer.config import Config
from experiments.transfer.law import fit_rate_law, optimum
from schedules import FAMILIES
from schedules.search import Scale
from tests.experiments.journals import runs_of

HORIZONS, DIMENSION, BATCH = (5, 10, 20, 40), 8, 4

pytestmark = pytest.mark.xdist_group("transfer")


def tuned(scores):
    """{half doublings: median score} around a rate of 1."""
    screened = {Setting(place, 2 ** (place / 2)): score for place, score in scores.items()}
    best = min(screened, key=screened.__getitem__)
    bracketed = min(scores) < best.half_doublings < max(scores)
    return Tuned(best, bracketed, screened, np.empty(0))


@pytest.mark.parametrize("lowest", [-0.4, 0.0, 0.3])
def test_the_best_rate_is_the_vertex_of_a_parabola_in_its_logarithm(lowest):
    places = (-4, -2, -1, 0, 1, 2)
    found = optimum(tuned({place: np.exp((place - lowest) ** 2) for place in places}), Scale.RELATIVE)
    assert found == (pytest.approx(2 ** (lowest / 2)), False)
    uneven = optimum(tuned({place: (place - lowest) ** 2 for place in (-2, 0, 1)}), Scale.ABSOLUTE)
    assert uneven == (pytest.approx(2 ** (lowest / 2)), False)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({-2: 3.0, 0: 2.0, 2: 1.0}, (2.0, True)),  # at the edge
        ({-2: 3.0, 0: 1.0, 2: np.inf}, (1.0, False)),  # what diverged bends no parabola
        ({-2: 1.0, 0: 1.0, 2: 2.0}, (0.5, True)),
        ({-2: np.inf, 0: np.inf, 2: np.inf}, (0.5, True)),
    ],
)
def test_where_no_parabola_is_known_the_best_is_one_that_was_tried(scores, expected):
    assert optimum(tuned(scores), Scale.RELATIVE) == pytest.approx(expected)


def test_the_law_of_one_axis_is_scipys_line_with_its_intervals():
    sizes, rates = np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([1.0, 0.8, 0.45, 0.4, 0.2])
    law, line = fit_rate_law(sizes[:, None], rates), stats.linregress(np.log(sizes), np.log(rates))
    half = stats.t.ppf(0.95, 3) * line.stderr
    (exponent,) = law.exponents(0.9)
    assert exponent == pytest.approx((line.slope, line.slope - half, line.slope + half))
    # of a new measurement: s √(1 + 1/n + (x - x̄)² / Sxx)
    x, centred = np.log(32.0), np.log(sizes) - np.log(sizes).mean()
    variance = 1 + 1 / 5 + (x - np.log(sizes).mean()) ** 2 / np.sum(centred**2)
    half = stats.t.ppf(0.95, 3) * law.deviation * np.sqrt(variance)
    level = line.intercept + line.slope * x
    assert law.deviation == pytest.approx(line.stderr * np.sqrt(np.sum(centred**2)))
    assert law.predicted([32.0], 0.9) == pytest.approx(np.exp([level, level - half, level + half]))


def test_an_exact_law_of_three_axes_is_found_and_its_intervals_hold_what_is_measured_anew():
    """Around a law with noise, 95 of 100 new measurements lie within."""
    random, axes = np.random.default_rng(0), [(2**k, 1, 1) for k in range(4)]
    sizes = np.array([*axes, *((1, b, 1) for b in (2, 4, 8)), *((1, 1, w) for w in (2, 4, 8))])
    levels = np.log(0.1) + np.log(sizes) @ [-0.5, 0.75, -0.25]
    exact = fit_rate_law(sizes, np.exp(levels))
    assert [a.value for a in exact.exponents(0.95)] == pytest.approx([-0.5, 0.75, -0.25])
    assert exact.predicted((8, 8, 8), 0.95) == pytest.approx([0.1, 0.1, 0.1])  # 8^0
    held = 0
    for noise in 0.2 * random.normal(size=(2000, len(sizes) + 1)):
        _, low, high = fit_rate_law(sizes, np.exp(levels + noise[1:])).predicted((1, 1, 1), 0.95)
        held += low <= 0.1 * np.exp(noise[0]) <= high
    assert 0.935 < held / 2000 < 0.965  # three standard errors


@pytest.mark.parametrize("sizes", [[], [[2, 3]], [[2, 3], [4, 3], [8, 3], [16, 3]], [[1, 2], [2, 1], [4, 4]]])
def test_a_law_that_the_sizes_do_not_determine_is_not_known(sizes):
    law = fit_rate_law(np.array(sizes).reshape(-1, 2), np.ones(len(sizes)))
    assert np.isnan([*law.exponents(0.9), law.predicted((2, 2), 0.9)]).all()


def test_the_sizes_are_a_star_around_the_middle_and_the_corner():
    config = Config()
    assert len(config.fitted) == 10
    assert config.central in config.fitted
    assert all(sum(a != b for a, b in zip(size, config.central, strict=True)) <= 1 for size in config.fitted)
    assert config.sizes[-1] == (800, 64, 128)


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("transfer").folder


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "winners.json").read_text())


@jax.jit
def drawn(stage, replicate):
    """The initial weights of a run and its batches, from the keys named after it."""
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    key = jax.random.fold_in(jax.random.key(0), stage)
    init, order, _, _ = jax.random.split(jax.random.fold_in(key, replicate), 4)
    return workload.init(init), workload.indices(order, BATCH, HORIZONS[-1])


def plain_loss(run):
    """The loss at the end of a row of the journal, by a plain loop in float64."""
    shape = {name: value for name, value in run["params"].items() if name not in ("num_steps", "batch_size")}
    family, steps = run["group"].split(",")[0], run["params"]["num_steps"]
    assert shape == USUAL_SHAPES[family]
    rates = run["base_lr"] * np.asarray(FAMILIES[family].multipliers(shape, steps), np.float64)
    root = np.asarray(workloads.load("linear_regression", dimension=DIMENSION).data, np.float64)
    start, batches = drawn(np.uint32(zlib.crc32(run["stage"].encode())), run["replicate"])
    weights = np.asarray(start, np.float64)
    for rate, rows in zip(rates, np.asarray(batches), strict=False):
        weights = weights - rate * DIMENSION * root[rows].T @ (root[rows] @ weights) / BATCH
    return np.mean((root @ weights) ** 2) / 2


def test_runs_of_all_horizons_are_plain_loops(folder):
    runs = runs_of(folder)[::9]
    assert {run["params"]["num_steps"] for run in runs} == set(HORIZONS)
    for run in runs:
        assert run["score"] == pytest.approx(plain_loss(run), rel=1e-3)


def scores_of(folder, stage):
    """{(family, horizon, rate): scores by seed}."""
    scores = {}
    for run in sorted(runs_of(folder), key=lambda run: run["replicate"]):
        if run["stage"] == stage:
            place = run["group"].split(",")[0], run["params"]["num_steps"], run["base_lr"]
            scores.setdefault(place, []).append(run["score"])
    return scores


def test_the_law_is_that_of_the_journals_best_rates(folder, found):
    screened = {place: np.median(seeds) for place, seeds in scores_of(folder, "screen").items()}
    for row, forecast in zip(found["laws"], found["largest"], strict=True):
        optima = []
        for horizon in HORIZONS:
            tried = sorted(
                (rate, s) for (*kind, rate), s in screened.items() if kind == [row["family"], horizon]
            )
            rates, scores = map(np.array, zip(*tried, strict=True))
            best = np.argmin(scores)
            neighbours = slice(max(best - 1, 0), best + 2)
            a, b, _ = np.polyfit(np.log(rates[neighbours]), np.log(scores[neighbours]), 2)
            optima.append(np.exp(-b / (2 * a)))
        slope, level = np.polyfit(np.log(HORIZONS[:-1]), np.log(optima[:-1]), 1)
        assert row["num_steps"]["value"] == pytest.approx(slope, rel=1e-6)
        assert forecast["predicted"]["value"] == pytest.approx(np.exp(level + slope * np.log(40)), rel=1e-6)
        assert forecast["rate"] == pytest.approx(optima[-1], rel=1e-6)


def test_transfers_cost_what_the_journal_says(folder, found):
    screened = {place: np.median(seeds) for place, seeds in scores_of(folder, "screen").items()}
    confirmed = {place: np.array(seeds) for place, seeds in scores_of(folder, "confirm").items()}

    def best(horizon, family=None):
        tried = [p for p in screened if p[1] == horizon and family in (None, p[0])]
        chosen = min(tried, key=screened.__getitem__)
        return chosen[0], chosen[2]

    own_shape, own_rate = best(40)
    for row in found["transfers"]:
        shape, rate = best(row["pair"]["source"]["num_steps"])
        retuned, carried = best(40, shape)[1], best(row["pair"]["source"]["num_steps"], own_shape)[1]
        trained = {"both": (shape, rate), "shape": (shape, retuned), "rate": (own_shape, carried)}
        for name, (family, used) in trained.items():
            changes = confirmed[family, 40, used] / confirmed[own_shape, 40, own_rate] - 1
            assert row[name]["value"] == pytest.approx(np.median(changes))
