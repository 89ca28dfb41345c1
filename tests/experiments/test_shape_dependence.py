"""A dependence study through its command: what winners.json says follows from the journals.

Everything is computed again from the journals with plain Python.
"""

import contextlib
import dataclasses
import io
import json
import shutil
import sqlite3
import statistics
from typing import NamedTuple

import pytest

from experiments.shape_dependence import STUDY, Config, main
from experiments.shape_dependence.config import PRESETS
from experiments.shape_dependence.factors import FACTORS
from schedules import load_winner
from tests.experiments.journals import forget_runs
from workloads import LongSweep

SETTINGS = {"num_steps_5": 5, "num_steps_10": 10}
SELECT, CONFIRM, RATES = 3, 5, 12
SEARCH = {
    "workload": "linear_regression",
    "workload_options": {"dimension": 8},
    "optimizer": "sgd",
    "families": ("cosine",),
    "batch_size": 2,
    "learning_rates": (0.25, 4.0),
    "candidates": 4,
    "rung_replicates": (2,),
    "top": 2,
    "select_replicates": SELECT,
    "confirm_replicates": CONFIRM,
    "checked": 0,
}


def words(**changes):
    options = []
    for name, value in {**SEARCH, "vary": "num_steps", "values": (10, 5), **changes}.items():
        if isinstance(value, dict):
            value = [word for pair in value.items() for word in pair]
        values = value if isinstance(value, tuple | list) else [value]
        options += [f"--{name.replace('_', '-')}", *map(str, values)]
    return options


class Finished(NamedTuple):
    folder: object
    output: str


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dependence") / "study"
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = main([*words(), "--folder", str(folder)])
    assert status == 0, output.getvalue()
    return Finished(folder, output.getvalue())


@pytest.fixture
def study_copy(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "copy")


def journal(folder):
    """All rows as dicts, but for the time taken."""
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM trials")]
    for row in rows:
        row["steps"] = json.loads(row.pop("label"))["num_steps"]
        del row["seconds"], row["chunk"]
    return rows


def content(folder):
    return json.loads((folder / "winners.json").read_text())


def scores(rows, stage):
    """{(family, parameters, base learning rate): scores in the order of replicates}."""
    groups = {}
    for row in sorted((row for row in rows if row["stage"] == stage), key=lambda row: row["replicate"]):
        key = row["group"], row["params"], row["base_lr"]
        groups.setdefault(key, []).append(row["score"])
    return groups


def test_every_setting_has_a_search_of_its_own(finished):
    for name, steps in SETTINGS.items():
        folder = finished.folder / "settings" / name
        assert {row["steps"] for row in journal(folder)} == {steps}
        assert {row["group"] for row in journal(folder)} == {"cosine", "constant"}
        assert load_winner(folder / "winners.json").num_steps == steps
        assert (folder / "report.html").exists()


def test_the_best_shape_of_every_setting_is_trained_in_every_setting(finished):
    rows = journal(finished.folder)
    stages = {f"{stage} {name}": steps for stage in ("retune", "compare") for name, steps in SETTINGS.items()}
    assert {(row["stage"], row["steps"]) for row in rows} == set(stages.items())
    winners = {name: load_winner(finished.folder / "settings" / name / "winners.json") for name in SETTINGS}
    expected = {(winner.family.name, json.dumps(dict(winner.params))) for winner in winners.values()}
    assert len(expected) == len(SETTINGS)
    for stage in stages:
        assert {(row["group"], row["params"]) for row in rows if row["stage"] == stage} == expected
    assert len(rows) == len(SETTINGS) ** 2 * (RATES * SELECT + CONFIRM)


def test_costs_are_changes_of_the_medians_at_the_rates_that_tuned_best(finished):
    rows, found = journal(finished.folder), content(finished.folder)
    shapes = {shape["setting"]: (shape["family"], json.dumps(shape["params"])) for shape in found["settings"]}
    medians = {}
    for entry in found["transfers"]:
        cell = entry["trained_in"], entry["shape_of"]
        tuned = {
            rate: statistics.median(values)
            for (*shape, rate), values in scores(rows, f"retune {cell[0]}").items()
            if tuple(shape) == shapes[cell[1]]
        }
        assert len(tuned) == RATES
        assert tuned[entry["base_lr"]] == min(tuned.values())
        assert entry["base_lr_bracketed"] == (min(tuned) < entry["base_lr"] < max(tuned))
        fresh = scores(rows, f"compare {cell[0]}")[(*shapes[cell[1]], entry["base_lr"])]
        assert len(fresh) == CONFIRM
        medians[cell] = entry["score"]["value"]
        assert medians[cell] == statistics.median(fresh)
    for entry in found["transfers"]:
        setting, name = entry["trained_in"], entry["shape_of"]
        if setting == name:
            assert entry["cost"] is None
        else:
            change = medians[setting, name] / medians[setting, setting] - 1
            assert entry["cost"]["value"] == pytest.approx(change, rel=1e-12)


def test_a_stopped_study_runs_what_is_missing_and_nothing_again(finished, study_copy, monkeypatch):
    """Stopped in the second setting's search, before any transfer."""
    first, second = (study_copy / "settings" / name for name in ("num_steps_10", "num_steps_5"))
    for lost in (second / "winners.json", second / "report.html", study_copy / "winners.json"):
        lost.unlink()
    (study_copy / "journal.sqlite").unlink()
    assert forget_runs(second, "stage = 'confirm'", "kind = 'winners'")
    kept = (first / "journal.sqlite").read_bytes()
    config = Config(**SEARCH, vary="num_steps", values=(10, 5))
    STUDY.run(config, study_copy)
    assert (first / "journal.sqlite").read_bytes() == kept
    assert journal(second) == journal(finished.folder / "settings" / "num_steps_5")
    assert journal(study_copy) == journal(finished.folder)
    assert content(study_copy) == content(finished.folder)
    monkeypatch.setattr(LongSweep, "whole", lambda *a: pytest.fail("a run was trained"))
    STUDY.run(config, study_copy)


@pytest.mark.usefixtures("no_training")
def test_another_study_in_the_folder_is_refused_with_the_difference(study_copy, capsys):
    assert main([*words(values=(5, 20)), "--folder", str(study_copy)]) == 2
    assert "values: [10, 5] there, [5, 20] asked for" in " ".join(capsys.readouterr().out.split())


BAD = {
    "unknown option": ({"vary": "batchsize"}, ["batchsize", "batch_size"]),
    "no number": ({"values": ("ten", "0.5.")}, ["values", "whole numbers", "'ten'", "'0.5.'"]),
    "no whole number": ({"values": (10, 2.5)}, ["values", "whole numbers", "2.5"]),
    "the search too": (
        {"values": ("ten",), "confirm_replicates": 0, "metric": "loss"},
        ["values: must be whole numbers", "confirm_replicates: must be", "metric: there is no 'loss'"],
    ),
    "a single setting": ({"values": (10,)}, ["values", "at least two settings", "num_steps_10"]),
    "a value twice": ({"values": (10, 10)}, ["values", "each once", "num_steps_10, num_steps_10"]),
    "impossible values": ({"values": (10, 0, -1)}, ["num_steps_0: num_steps", "num_steps_-1: num_steps"]),
    "a batch beyond the data": (
        {"vary": "batch_size", "values": (4, 9, 10)},
        ["batch_size_9: ", "batch_size_10: ", "8"],
    ),
    "a beta where there is none": ({"vary": "b1", "values": (0.5, 0.9)}, ["b1_0.5: b1: sgd has none"]),
    "a beta of one": (
        {"vary": "b2", "values": (0.5, 1.0), "optimizer": "adamw"},
        ["b2_1: b2: must be in [0, 1)"],
    ),
    "a decay where there is none": (
        {"vary": "weight_decay", "values": (0, 0.1)},
        ["scaled_0.1: weight_decay", "independent_0.1: weight_decay"],
    ),
    "unknown optimizer": ({"vary": "optimizer", "values": ("adamw", "muom")}, ["'muom'", "'muon'"]),
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused_before_anything_runs(tmp_path, capsys, case):
    changes, expected = BAD[case]
    try:
        status = main([*words(**changes), "--folder", str(tmp_path / "study")])
    except SystemExit as end:
        status = end.code
    captured = capsys.readouterr()
    message = " ".join((captured.out + captured.err).replace("│", " ").split())
    assert status == 2
    assert [part for part in expected if part not in message] == []
    assert not (tmp_path / "study").exists()


def varied(name, *values):
    """The study's default with another option varied."""
    return dataclasses.replace(PRESETS["digits"], vary=name, values=values)


def test_every_option_can_be_varied_with_its_own_values():
    counts = {name: len(varied(name).settings) for name in FACTORS}
    assert counts == {"weight_decay": 9, "b1": 5, "b2": 4, "batch_size": 5, "num_steps": 4, "optimizer": 3}
    for name in FACTORS:
        config = varied(name)
        usual = config.settings[config.reference]
        assert getattr(usual, name) == {"b1": 0.9, "b2": 0.999}.get(name, getattr(config, name))


def test_weight_decay_is_varied_in_both_modes_with_equal_strength_in_the_middle_of_the_rates():
    """At a learning rate of 0.1, the middle of [0.01, 1], a step's scaled decay is 0.1 · λ."""
    search = {"optimizer": "adamw", "learning_rates": (0.01, 1.0)}
    settings = Config(**search, vary="weight_decay", values=(0.5, 0, 2)).settings
    assert {name: (setting.weight_decay, setting.decay_mode) for name, setting in settings.items()} == {
        "no_decay": (0.0, "scaled"),
        "scaled_0.5": (0.5, "scaled"),
        "scaled_2": (2.0, "scaled"),
        "independent_0.05": (0.05, "independent"),
        "independent_0.2": (0.2, "independent"),
    }


def test_an_optimizers_learning_rates_are_moved_to_where_it_is_compared():
    search = {"optimizer": "adamw", "learning_rates": (0.01, 1.0)}
    settings = Config(**search, vary="optimizer", values=("adamw", "muon", "signum")).settings
    assert {name: setting.optimizer for name, setting in settings.items()} == {
        name: name for name in ("adamw", "muon", "signum")
    }
    assert settings["adamw"].learning_rates == (0.01, 1.0)
    assert settings["muon"].learning_rates == pytest.approx((0.02, 2.0))
    assert settings["signum"].learning_rates == pytest.approx((0.005, 0.5))


@pytest.mark.parametrize(("values", "level"), [((0.1, 0.5), 0.95), ((0.1, 0.5, 0.9), 0.975)])
def test_intervals_are_wide_enough_to_hold_together(values, level):
    assert varied("b1", *values).level == pytest.approx(level)


def test_searches_and_transfers_are_trained_as_their_setting_says(tmp_path, monkeypatch):
    """Without training: a run's loss is its batch size, times what its learning rate is off."""

    def runner(workload, optimizer, root, sweep, *, batch_size, **options):
        return lambda trials: [{"train_loss": batch_size * (1 + abs(trial.base_lr - 1))} for trial in trials]

    monkeypatch.setattr("experiments.shape_search.runs.ShapeRunner", runner)
    monkeypatch.setattr("experiments.study.study.write_report", lambda *arguments: None)
    STUDY.run(Config(**SEARCH, vary="batch_size", values=(4, 1, 8)), tmp_path)
    transfers = content(tmp_path)["transfers"]
    assert {(entry["trained_in"], entry["score"]["value"], entry["base_lr"]) for entry in transfers} == {
        ("batch_size_4", 4.0, 1.0),
        ("batch_size_1", 1.0, 1.0),
        ("batch_size_8", 8.0, 1.0),
    }
    assert len(transfers) == 9
