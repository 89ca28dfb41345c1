"""A small study of searches of training runs, against plain NumPy on its journal."""

import json

import numpy as np
import pytest
from scipy import stats

import workloads
from experiments import shape_search
from experiments.search_efficiency import Training
from experiments.search_efficiency.config import DEFAULT
from experiments.shape_search.presets import PRESETS
from schedules.search import median_estimate
from tests.experiments.journals import runs_of

STEPS = 1000

pytestmark = pytest.mark.xdist_group("search_efficiency_digits")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("search_efficiency_digits").folder


@pytest.fixture(scope="module")
def rows(folder):
    return runs_of(folder)


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "winners.json").read_text())


def incumbents_by_hand(rows, search, batch):
    """[(cost, candidate, median over fresh seeds)] of the best candidate after each batch."""
    runs = [row for row in rows if row["stage"] == search]
    fresh = [row for row in rows if row["stage"] == f"{search}, fresh"]
    found, best, cost = [], np.inf, 0.0
    for first in range(0, max(row["number"] for row in runs) + 1, batch):
        of_batch = [row for row in runs if first <= row["number"] < first + batch]
        cost += sum(row["label"]["num_steps"] for row in of_batch) / STEPS
        for number in range(first, first + batch):
            full = [r["score"] for r in of_batch if (r["number"], r["label"]["num_steps"]) == (number, STEPS)]
            if len(full) == 3 and np.median(full) < best:
                best, best_number = np.median(full), number
        if not found or found[-1][1] != best_number:
            scores = [row["score"] for row in fresh if row["number"] == best_number]
            assert len(scores) == 9
            found.append((cost, best_number, np.median(scores)))
    assert cost >= {"trust_region": 30, "random": 60}.get(search.split()[0], 20)
    assert len(fresh) == 9 * len(found)
    return found


def test_costs_of_training_are_steps_until_fresh_seeds_find_the_incumbent_near_optimal(rows, content):
    finals = [
        np.median([row["score"] for row in rows if (row["stage"], row["number"]) == ("finals", rank)])
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
            reached = [when for when, _, score in found if score <= known["near_optimal_up_to"]]
            assert cost == (reached[0] if reached else None)
        ends = [incumbents_by_hand(rows, f"{entry['strategy']} {s}", batch)[-1][2] for s in range(2)]
        assert entry["above_best_known"]["value"] == pytest.approx(np.median(ends) / known["score"] - 1)
        remained = np.mean(np.array(ends) <= known["near_optimal_up_to"])
        assert entry["fraction_near_optimal_at_end"]["value"] == remained
    first = next(row["params"] for row in rows if (row["stage"], row["number"]) == ("finals", 0))
    same = {
        (row["stage"], row["number"]) for row in rows if row["params"] == first and "fresh" in row["stage"]
    }
    medians = [
        np.median([row["score"] for row in rows if (row["stage"], row["number"]) == candidate])
        for candidate in same
    ]
    assert min(medians) == min(scores)


def test_races_drop_candidates_and_all_searches_of_a_seed_begin_alike(rows):
    for search, first in (("trust_region+seeds 0", (1, STEPS)), ("trust_region+horizon 0", (3, STEPS // 4))):
        runs = {}
        for row in rows:
            if row["stage"] == search:
                runs.setdefault(row["number"], []).append(row["label"]["num_steps"])
        dropped = [first[1:] * first[0] == tuple(run_steps) for run_steps in runs.values()]
        assert any(dropped)
        assert not all(dropped)
    start = [
        next(row["params"] for row in rows if row["stage"] == f"trust_region{race} 0")
        for race in ("", "+seeds", "+horizon")
    ]
    assert start[0] == start[1] == start[2]


def test_the_selection_bias_is_numpys_on_the_journal(rows, content):
    naive, fresh, held = [], [], 0
    for seed, winner in enumerate(content["winners"]):
        search = f"trust_region {seed}"
        number = incumbents_by_hand(rows, search, 4)[-1][1]
        screened, confirmed, truth = (
            [row["score"] for row in rows if (row["stage"], row["number"]) == (stage, number)]
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


@pytest.mark.usefixtures("no_report")
def test_racing_over_the_horizon_compiles_once_a_rung(tmp_path, monkeypatch, tiny_config):
    lengths = []
    trainer = workloads.trainer

    def counted(workload, data, optimizer, learning_rates, keys, **options):
        lengths.append(len(learning_rates))
        return trainer(workload, data, optimizer, learning_rates, keys, **options)

    monkeypatch.setattr(workloads, "trainer", counted)

    def traced(candidates, batch, checked):
        lengths.clear()
        config = tiny_config(
            families=("constant", "cosine"),
            strategy="random",
            learning_rates=(0.25, 2.0),
            candidates=candidates,
            batch=batch,
            rung_replicates=(2, 2),
            rung_horizons=(0.25, 1.0),
            confidence=0.95,
            checked=checked,
            local_replicates=2,
            check_replicates=7,
        )
        shape_search.STUDY.run(config, tmp_path / f"{candidates}")
        return sorted(lengths)

    once = traced(2, 2, checked=0)
    assert once.count(5) == once.count(20) > 0
    assert traced(6, 3, checked=1) == once  # nor do the checks of a winner compile anything


def test_searches_begin_from_what_a_shape_search_does_unless_told_otherwise():
    search, training = shape_search.Config(), Training()
    assert PRESETS["cifar10"].strategy == DEFAULT  # of those that search a family at a time
    for name in ("learning_rates", "batch_size", "workload", "metric", "optimizer"):
        assert getattr(training, name) == getattr(search, name)
