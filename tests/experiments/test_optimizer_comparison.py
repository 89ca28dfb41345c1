"""A small comparison from the command line: its scores, its table, its resumption, its errors."""

import functools
import json
import shutil
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
import workloads
from experiments.optimizer_comparison import PRESETS, main
from tests.experiments.journals import forget_runs
from tests.experiments.small_study import SmallStudy
from workloads import LongSweep

STEPS, BATCH = 6, 32
OPTIONS = {
    "--workload-options": ["model", "mlp"],
    "--optimizers": ["muon", "signum"],
    "--num-steps": [STEPS],
    "--batch-size": [BATCH],
    "--first-rates": [3],
    "--more-rates": [1],
    "--decays": [0.0, 0.01],
    "--screen-replicates": [1],
    "--confirm-replicates": [4],
    "--curve-points": [3],
}
RUNS = 3 * (4 * 2 * 1 + 4)  # adamw is added


STUDY = SmallStudy(main, OPTIONS)
called, options = STUDY.called, STUDY.options


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return STUDY.finish(tmp_path_factory.mktemp("comparison") / "study")


@functools.cache
def workload():
    return workloads.load("digits", model="mlp")


def loss_of_a_plain_loop(transformation, stage, replicate):
    """Train step by step with optax alone, from the keys named after the stage and the replicate."""
    key = jax.random.fold_in(jax.random.key(0), zlib.crc32(stage.encode()))
    init, data, *_ = jax.random.split(jax.random.fold_in(key, replicate), 4)

    @jax.jit
    def step(params, state, rows):
        batch = workload().batch(workload().data, rows)
        gradient = jax.grad(workload().loss)(params, batch, init)
        updates, state = transformation.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params = workload().init(init)
    state = jax.jit(transformation.init)(params)
    for rows in workload().indices(data, BATCH, STEPS):
        params, state = step(params, state, rows)
    return float(workload().evaluate(params, workload().data)["train_loss"])


def linear_with_warmup(peak):
    x = np.arange(STEPS) / STEPS
    table = peak * jnp.asarray(np.minimum(x / 0.1, (1 - x) / 0.9), jnp.float32)
    return lambda count: table[count]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        (
            "muon",
            lambda lr, wd: optim.muon(lr, scale="rms", weight_decay=wd, fallback_weight_decay=wd),
        ),
        ("signum", lambda lr, wd: optim.signum(lr, weight_decay=wd)),
        ("adamw", lambda lr, wd: optax.adamw(lr, weight_decay=wd)),
    ],
)
def test_a_score_is_that_of_a_plain_training_loop(finished, journal_rows, name, build):
    rows = {i: row for i, row in journal_rows(finished[0]).items() if i[:2] == ("screen", name) and i[2] == 1}
    assert len(rows) == 4
    (stage, _, _, _, replicate), row = max(rows.items(), key=lambda item: item[1]["base_lr"])
    peak = row["base_lr"]
    assert row["params"]["decay"] == 0.01
    transformation = build(linear_with_warmup(peak), 0.01 / peak)
    assert row["score"] == pytest.approx(loss_of_a_plain_loop(transformation, stage, replicate), rel=2e-3)


def test_the_winners_are_the_medians_of_the_journal_in_ascending_order(finished, journal_rows):
    content = json.loads((finished[0] / "winners.json").read_text())
    rows = journal_rows(finished[0])
    assert len(rows) == RUNS
    for winner in content["winners"]:
        name = winner["optimizer"]
        confirmed = [row for i, row in rows.items() if i[:2] == ("confirm", name)]
        assert winner["score"]["value"] == pytest.approx(np.median([row["score"] for row in confirmed]))
        assert {row["base_lr"] for row in confirmed} == {winner["learning_rate"]}
        assert all(row["metrics"][f"train_loss@{STEPS}"] == row["score"] for row in confirmed)
        assert winner["step_seconds"] > 0
    scores = [winner["score"]["value"] for winner in content["winners"]]
    assert scores == sorted(scores)
    adamw = next(w for w in content["winners"] if w["optimizer"] == "adamw")
    assert (adamw["steps_needed"], adamw["relative_step"]) == (1.0, 1.0)


def test_the_table_and_the_report_say_what_the_winners_file_says(finished):
    folder, output = finished
    content = json.loads((folder / "winners.json").read_text())
    report = (folder / "report.html").read_text()
    assert content["verdict"] in " ".join(output.split())
    for winner in content["winners"]:
        cell = f"{winner['score']['value']:.3g} ["
        assert cell in output
        assert cell in report
    assert report.count("data:image/png;base64,") == 3


def test_a_comparison_that_lost_runs_resumes_to_the_same_scores(
    finished, journal_rows, tmp_path, monkeypatch
):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    assert forget_runs(copy, "stage = 'confirm' AND replicate > 1")
    assert forget_runs(copy, "family = 'signum'")
    trained = []
    whole = LongSweep.whole
    monkeypatch.setattr(LongSweep, "whole", lambda *a: trained.append(a) or whole(*a))
    assert called(*options(), "--folder", copy)[0] == 0
    assert trained
    assert journal_rows(copy) == journal_rows(finished[0])
    winners = [json.loads((f / "winners.json").read_text())["winners"] for f in (copy, finished[0])]
    assert winners[0] == winners[1]


def test_the_report_is_drawn_again_without_a_run(finished, tmp_path, monkeypatch):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    (copy / "winners.json").unlink()
    monkeypatch.setattr(workloads.LongSweep, "whole", lambda *a: pytest.fail("a run was trained"))
    status, output = called("report", copy)
    assert status == 0
    assert (copy / "winners.json").read_bytes() == (finished[0] / "winners.json").read_bytes()
    assert output == finished[1][finished[1].index(output.splitlines()[0]) :].replace(
        str(finished[0]), str(copy)
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizers": ["muo"]}, ["optimizers", "muo", "muon"]),
        ({"first_rates": [2]}, ["first_rates", "3", "2"]),
        ({"decays": [-0.1]}, ["decays", "-0.1"]),
        ({"metric": ["test_los"]}, ["metric", "test_loss"]),
        ({"batch_size": [100000]}, ["batch_size", "100000"]),
        ({"curve_points": [7]}, ["curve_points", "num_steps", "7"]),
        ({"workload": ["digit"]}, ["workload", "digits"]),
    ],
)
def test_bad_options_are_messages_and_nothing_is_trained(changes, words, tmp_path, monkeypatch):
    monkeypatch.setattr(workloads.LongSweep, "whole", lambda *a: pytest.fail("a run was trained"))
    status, output = called(*options(**changes), "--folder", tmp_path / "study")
    assert status == 2
    assert all(word in output for word in words), output


def test_the_transformer_preset_compares_all_optimizers_on_text():
    preset = PRESETS["transformer"]
    assert preset.workload == "shakespeare"
    assert {"momentum", "adamw", "lion", "optax_muon", "muon", "dion", "orth_dion"} <= set(preset.compared)
