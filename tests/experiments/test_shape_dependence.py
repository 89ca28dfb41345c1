"""A dependence study through its command: what winners.json says follows from the journals.

Everything is computed again from the journals with plain Python.
"""

import dataclasses
import json
import statistics

import pytest

from experiments.shape_dependence import STUDY
from experiments.shape_dependence.config import FACTORS, PRESETS, Config
from schedules import load_winner
from tests.experiments.journals import runs_of
from tests.experiments.small_study import config_of

SETTINGS = {"num_steps_5": 5, "num_steps_10": 10}
SELECT, CONFIRM, RATES = 3, 5, 12

pytestmark = [pytest.mark.bits, pytest.mark.xdist_group("shape_dependence")]


@pytest.fixture(scope="module")
def folder(finished_studies):
    """Of a study whose settings have different best shapes."""
    return finished_studies("shape_dependence").folder


def content(folder):
    return json.loads((folder / "winners.json").read_text())


def scores(rows, stage):
    """{(family, parameters, base learning rate): scores in the order of replicates}."""
    groups = {}
    for row in sorted((row for row in rows if row["stage"] == stage), key=lambda row: row["replicate"]):
        key = row["group"], json.dumps(row["params"]), row["base_lr"]
        groups.setdefault(key, []).append(row["score"])
    return groups


def test_every_setting_has_a_search_of_its_own(folder):
    for name, steps in SETTINGS.items():
        search = folder / "settings" / name
        assert {row["label"]["num_steps"] for row in runs_of(search)} == {steps}
        assert {row["group"] for row in runs_of(search)} == {"cosine", "constant"}
        assert load_winner(search / "winners.json").num_steps == steps
        assert (search / "report.html").exists()


def test_the_best_shape_of_every_setting_is_trained_in_every_setting(folder):
    rows = runs_of(folder)
    stages = {f"{stage} {name}": steps for stage in ("retune", "compare") for name, steps in SETTINGS.items()}
    assert {(row["stage"], row["label"]["num_steps"]) for row in rows} == set(stages.items())
    winners = {name: load_winner(folder / "settings" / name / "winners.json") for name in SETTINGS}
    expected = {(winner.family.name, json.dumps(dict(winner.params))) for winner in winners.values()}
    assert len(expected) == len(SETTINGS)
    for stage in stages:
        trained = {(row["group"], json.dumps(row["params"])) for row in rows if row["stage"] == stage}
        assert trained == expected
    assert len(rows) == len(SETTINGS) ** 2 * (RATES * SELECT + CONFIRM)


def test_costs_are_changes_of_the_medians_at_the_rates_that_tuned_best(folder):
    rows, found = runs_of(folder), content(folder)
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


@pytest.mark.usefixtures("no_report")
def test_searches_and_transfers_are_trained_as_their_setting_says(tmp_path, monkeypatch):
    """Without training: a run's loss is its batch size, times what its learning rate is off."""

    def runner(workload, optimizer, root, sweep, *, batch_size, **options):
        return lambda trials: [{"train_loss": batch_size * (1 + abs(trial.base_lr - 1))} for trial in trials]

    monkeypatch.setattr("experiments.shape_search.runs.ShapeRunner", runner)
    STUDY.run(config_of("shape_dependence", "--vary batch_size --values 4 1 8"), tmp_path)
    transfers = content(tmp_path)["transfers"]
    assert {(entry["trained_in"], entry["score"]["value"], entry["base_lr"]) for entry in transfers} == {
        ("batch_size_4", 4.0, 1.0),
        ("batch_size_1", 1.0, 1.0),
        ("batch_size_8", 8.0, 1.0),
    }
    assert len(transfers) == 9
