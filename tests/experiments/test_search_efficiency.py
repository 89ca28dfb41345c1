"""A small study of search efficiency from the command line: landscapes and training runs against plain NumPy
on the journal, its claims, its resumption."""

import contextlib
import functools
import html
import json
import shutil
import sqlite3
from pathlib import Path

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.interpolate import PchipInterpolator

import workloads
from experiments import shape_search
from experiments.search_efficiency import PRESETS, Landscape, main
from experiments.search_efficiency.config import DEFAULT, RANDOM
from experiments.search_efficiency.searches import Search
from experiments.study.options.errors import StudyError
from schedules import FAMILIES, Interval
from schedules.search import STRATEGIES, SearchSpace, median_estimate
from tests.experiments.journals import forget_runs
from tests.experiments.small_study import call

STEPS, DIMENSION, BATCH, TOLERANCE = 20, 8, 4, 0.9
SHARED = {
    "--families": ["two_point_spline"],
    "--seeds": [2],
    "--num-steps": [STEPS],
    "--batch-size": [BATCH],
    "--learning-rates": [0.25, 4],
}
LANDSCAPE = {
    **SHARED,
    "--dimension": [DIMENSION],
    "--polished": [2],
    "--tolerance": [TOLERANCE],
    "--budgets": ["trust_region", 12, "random", 64],
}
TRAINING = {
    **SHARED,
    "--workload": ["linear_regression"],
    "--workload-options": ["dimension", DIMENSION],
    "--optimizer": ["sgd"],
    "--budgets": ["trust_region", 30, "trust_region+seeds", 20, "trust_region+horizon", 20, "random", 60],
    "--fresh-replicates": [9],
    "--confirm-replicates": [5],
    "--truth-replicates": [11],
    "--finalists": [3],
}


called = functools.partial(call, main)


def words(options):
    return [word for name, values in options.items() for word in (name, *values)]


def finished(preset, options, folder):
    status, output = called(preset, *words(options), "--folder", folder)
    assert status == 0, output
    return folder, output


@pytest.fixture(scope="module")
def landscape(tmp_path_factory):
    return finished("landscape", LANDSCAPE, tmp_path_factory.mktemp("landscape") / "study")


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return finished("digits", TRAINING, tmp_path_factory.mktemp("training") / "study")


def rows_of(folder):
    """All runs, a dictionary each, from the database itself."""
    with contextlib.closing(sqlite3.connect(Path(folder) / "journal.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM trials")]
    for row in rows:
        row["params"] = json.loads(row["params"])
        del row["seconds"], row["chunk"]
    return rows


def content_of(folder):
    return json.loads((Path(folder) / "winners.json").read_text())


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


def test_the_landscape_is_the_mean_field(landscape):
    rows = rows_of(landscape[0])
    for row in rows:
        assert row["score"] == pytest.approx(numpy_loss(row["params"], row["base_lr"]), rel=1e-3)
    assert {row["stage"] for row in rows} >= {"random 0", "trust_region 1", "polish"}


def test_the_journal_holds_every_candidate_that_improved_a_search(landscape):
    space = SearchSpace(FAMILIES["two_point_spline"], Interval(0.25, 4.0, log=True))
    strategy = STRATEGIES["random"](space.dimensions, 64)
    key = Search("two_point_spline", "random", 1).key(jax.random.key(0))
    candidates = space.candidates(strategy.ask(strategy.init(key)), 0)
    losses = [numpy_loss(one.params, one.base_lr) for one in candidates]
    expected = [k for k in range(64) if k == 63 or losses[k] < min(losses[:k], default=np.inf)]
    rows = [row for row in rows_of(landscape[0]) if row["stage"] == "random 1"]
    assert [row["candidate"] for row in rows] == expected


def test_costs_on_the_landscape_are_evaluations_until_the_tolerance(landscape):
    rows, content = rows_of(landscape[0]), content_of(landscape[0])
    best = min(row["score"] for row in rows)
    assert any(cost for entry in content["strategies"] for cost in entry["costs"])
    assert content["best_known"]["two_point_spline"]["score"] == best
    assert min(row["score"] for row in rows if row["stage"] == "polish") <= 1.001 * best
    for entry in content["strategies"]:
        for seed, cost in enumerate(entry["costs"]):
            near = [
                row["candidate"] + 1
                for row in rows
                if row["stage"] == f"{entry['strategy']} {seed}" and row["score"] <= (1 + TOLERANCE) * best
            ]
            assert cost == (min(near) if near else None)
    assert "selection bias" not in (landscape[0] / "report.html").read_text()


def incumbents_by_hand(rows, search, batch):
    """[(cost, candidate, median over fresh seeds)] of the best candidate after each batch."""
    runs = [row for row in rows if row["stage"] == search]
    fresh = [row for row in rows if row["stage"] == f"{search}, fresh"]
    found, best, cost = [], np.inf, 0.0
    for first in range(0, max(row["candidate"] for row in runs) + 1, batch):
        of_batch = [row for row in runs if first <= row["candidate"] < first + batch]
        cost += sum(row["variant"] for row in of_batch) / STEPS
        for number in range(first, first + batch):
            full = [r["score"] for r in of_batch if (r["candidate"], r["variant"]) == (number, STEPS)]
            if len(full) == 3 and np.median(full) < best:
                best, best_number = np.median(full), number
        if not found or found[-1][1] != best_number:
            scores = [row["score"] for row in fresh if row["candidate"] == best_number]
            assert len(scores) == 9
            found.append((cost, best_number, np.median(scores)))
    assert cost >= {"trust_region": 30, "random": 60}.get(search.split()[0], 20)
    assert len(fresh) == 9 * len(found)
    return found


def test_costs_of_training_are_steps_until_fresh_seeds_find_the_incumbent_near_optimal(training):
    rows, content = rows_of(training[0]), content_of(training[0])
    finals = [
        np.median([row["score"] for row in rows if (row["stage"], row["candidate"]) == ("finals", rank)])
        for rank in range(3)
    ]
    assert sum(row["stage"] == "finals" for row in rows) == 3 * 11
    known = content["best_known"]["two_point_spline"]
    assert known["score"] == min(finals)
    assert known["near_optimal_up_to"] == min(finals) + max(0.01 * min(finals), known["error"])
    scores = []
    for entry in content["strategies"]:
        for seed, cost in enumerate(entry["costs"]):
            batch = 16 if entry["strategy"] == "random" else 4
            found = incumbents_by_hand(rows, f"{entry['strategy']} {seed}", batch)
            scores += [score for *_, score in found]
            near = [when for when, _, score in found if score <= known["near_optimal_up_to"]]
            assert cost == (near[0] if near else None)
        ends = [incumbents_by_hand(rows, f"{entry['strategy']} {s}", batch)[-1][2] for s in range(2)]
        assert entry["above_best_known"]["value"] == pytest.approx(np.median(ends) / known["score"] - 1)
        remained = np.mean(np.array(ends) <= known["near_optimal_up_to"])
        assert entry["fraction_near_optimal_at_end"]["value"] == remained
    first = next(row["params"] for row in rows if (row["stage"], row["candidate"]) == ("finals", 0))
    same = {
        (row["stage"], row["candidate"]) for row in rows if row["params"] == first and "fresh" in row["stage"]
    }
    medians = [
        np.median([row["score"] for row in rows if (row["stage"], row["candidate"]) == one]) for one in same
    ]
    assert min(medians) == min(scores)


def test_races_drop_candidates_and_all_searches_of_a_seed_begin_alike(training):
    rows = rows_of(training[0])
    for search, first in (("trust_region+seeds 0", (1, STEPS)), ("trust_region+horizon 0", (3, STEPS // 4))):
        runs = {}
        for row in rows:
            if row["stage"] == search:
                runs.setdefault(row["candidate"], []).append(row["variant"])
        dropped = [first[1:] * first[0] == tuple(of) for of in runs.values()]
        assert any(dropped)
        assert not all(dropped)
    start = [
        next(row["params"] for row in rows if row["stage"] == f"trust_region{race} 0")
        for race in ("", "+seeds", "+horizon")
    ]
    assert start[0] == start[1] == start[2]


def test_the_selection_bias_is_numpys_on_the_journal(training):
    rows, content = rows_of(training[0]), content_of(training[0])
    naive, fresh, held = [], [], 0
    for seed, winner in enumerate(content["winners"]):
        search = f"trust_region {seed}"
        number = incumbents_by_hand(rows, search, 4)[-1][1]
        screened, confirmed, truth = (
            [row["score"] for row in rows if (row["stage"], row["candidate"]) == (stage, number)]
            for stage in (search, f"{search}, fresh", f"{search}, truth")
        )
        assert (len(screened), len(truth)) == (3, 11)
        assert len({*screened, *confirmed, *truth}) == 3 + 9 + 11
        assert winner["naive"] == np.median(screened)
        naive.append(np.median(screened) / np.median(truth) - 1)
        fresh.append(np.median(confirmed[:5]) / np.median(truth) - 1)
        interval = median_estimate(np.array(confirmed[:5]))
        held += interval.low <= np.median(truth) <= interval.high
    for name, values in (("naive", naive), ("fresh", fresh)):
        low, high = stats.t.interval(0.95, 1, np.mean(values), stats.sem(values))
        assert list(content["selection_bias"][name].values()) == pytest.approx([np.mean(values), low, high])
    assert content["selection_bias"]["coverage"]["value"] == held / 2


@pytest.mark.parametrize("preset", ["landscape", "training"])
def test_the_tables_and_the_report_say_what_the_winners_file_says(preset, request):
    folder, output = request.getfixturevalue(preset)
    content, report = content_of(folder), (folder / "report.html").read_text()
    for claim in content["claims"]:
        assert html.escape(claim["statement"]) in report
        assert ("yes" if claim["held"] else "NO") in output
    for entry in content["strategies"]:
        arrived = [cost for cost in entry["costs"] if cost is not None]
        low, high = stats.binomtest(len(arrived), 2).proportion_ci()
        cell = f"{len(arrived) / 2:.3g} [{low:.3g}, {high:.3g}]"
        assert cell in report
        assert cell in output
    assert report.count("data:image/png;base64,") == (2 if preset == "landscape" else 3)


@pytest.mark.parametrize("preset", ["landscape", "training"])
def test_a_study_that_lost_runs_resumes_to_the_same_results(preset, request, tmp_path):
    folder, _ = request.getfixturevalue(preset)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    lost = {
        "landscape": "stage IN ('random 1', 'polish')",  # its searches are recorded whole
        "training": "stage IN ('trust_region+seeds 1, fresh', 'trust_region 0, truth') OR"
        " stage = 'trust_region+seeds 1' AND candidate > 5",
    }
    assert forget_runs(copy, lost[preset])
    options = {"landscape": LANDSCAPE, "training": TRAINING}[preset]
    finished({"training": "digits"}.get(preset, preset), options, copy)
    assert rows_of(copy) == rows_of(folder)
    assert (copy / "winners.json").read_bytes() == (folder / "winners.json").read_bytes()


@pytest.mark.parametrize("preset", ["landscape", "training"])
def test_the_report_is_drawn_again_without_a_run(preset, request, tmp_path, no_training):
    folder, output = request.getfixturevalue(preset)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "winners.json").unlink()
    status, again = called("report", copy)
    assert status == 0
    assert (copy / "winners.json").read_bytes() == (folder / "winners.json").read_bytes()
    assert again.replace(str(copy), str(folder)) in output


@pytest.mark.parametrize(
    ("preset", "stage"), [("landscape", "polish"), ("landscape", "random 0"), ("training", "random 0%")]
)
def test_an_unfinished_study_has_no_report(preset, stage, request, tmp_path):
    copy = Path(shutil.copytree(request.getfixturevalue(preset)[0], tmp_path / "copy"))
    assert forget_runs(copy, f"stage LIKE '{stage}'")
    status, output = called("report", copy)
    assert status == 2
    assert "is not finished" in output


def test_racing_over_the_horizon_compiles_once_a_rung(tmp_path, monkeypatch, no_report):
    lengths = []
    trainer = workloads.trainer

    def counted(workload, data, optimizer, learning_rates, keys, **options):
        lengths.append(len(learning_rates))
        return trainer(workload, data, optimizer, learning_rates, keys, **options)

    monkeypatch.setattr(workloads, "trainer", counted)

    def traced(candidates, batch, checked):
        lengths.clear()
        config = shape_search.Config(
            workload="linear_regression",
            workload_options={"dimension": 8},
            families=("constant", "cosine"),
            strategy="random",
            optimizer="sgd",
            batch_size=4,
            num_steps=20,
            learning_rates=(0.25, 2.0),
            candidates=candidates,
            batch=batch,
            rung_replicates=(2, 2),
            rung_horizons=(0.25, 1.0),
            top=2,
            select_replicates=3,
            confirm_replicates=5,
            checked=checked,
        )
        shape_search.run(config, tmp_path / f"{candidates}")
        return sorted(lengths)

    once = traced(2, 2, checked=0)
    assert once.count(5) == once.count(20) > 0
    assert traced(12, 3, checked=1) == once  # nor do the checks of a winner compile anything


@pytest.mark.parametrize(
    ("preset", "options", "message"),
    [
        ("landscape", {"--budgets": ["random", 100, "trust_regoin", 9]}, "did you mean 'trust_region'"),
        ("landscape", {"--budgets": ["random", 100]}, "cannot be left out"),
        (
            "landscape",
            {"--budgets": ["random", 100, "trust_region", 0]},
            "in [1, 10000000], got 0",
        ),
        ("landscape", {"--budgets": ["random", 100, "trust_region+seeds", 9]}, "no 'trust_region+seeds'"),
        ("landscape", {"--batch-size": [65]}, "at most the dimension 64"),
        ("landscape", {"--families": ["rex", "rex"]}, "once each"),
        ("landscape", {"--learning-rates": [2, 1]}, "positive, finite and ascending"),
        ("landscape", {"--tolerance": [0]}, "tolerance: must be between 0 and 1"),
        ("digits", {"--seeds": [1]}, "seeds: must be at least 2"),
        ("digits", {"--confirm-replicates": [201]}, "some of the 200"),
        ("digits", {"--metric": ["loss"]}, "there is no 'loss'"),
    ],
)
def test_mistakes_end_before_anything_is_searched(preset, options, message, tmp_path):
    status, output = called(preset, *words(options), "--folder", tmp_path / "study")
    assert status == 2
    assert message in " ".join(output.split())
    assert not (tmp_path / "study").exists()


def test_the_default_strategy_is_the_one_of_a_shape_search():
    assert shape_search.Config().strategy == DEFAULT
    for preset in PRESETS.values():
        assert preset.budgets[DEFAULT] < preset.budgets[RANDOM]
    with pytest.raises(StudyError, match="batch: must be at least 1"):
        Landscape(batch=0)
