"""What a study may change about its training runs, against runs made outside the code under test."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
from experiments.shape_search import STUDY
from experiments.shape_search.presets import PAPER_FAMILIES, PRESETS
from experiments.shape_search.runs import with_widest_vectorize
from experiments.study.options.errors import StudyError
from experiments.study.options.metrics import evaluation_steps
from experiments.study.running.execution import Execution
from experiments.study.training.programs import clipped
from schedules import FAMILIES
from workloads import Workload

pytestmark = pytest.mark.usefixtures("no_report")


def parabola():
    """p²/2 in two directions of other curvature; its exact runs are a product a step."""
    curvature = jnp.float32([1.0, 0.25])

    def loss(p, batch, key):
        return jnp.sum(curvature * p**2) / 2

    return Workload(
        data=jnp.zeros(4),
        init=lambda key: jnp.float32([3.0, -4.0]),
        indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), int),
        batch=lambda data, indices: data[indices],
        loss=loss,
        evaluate=lambda p, data: {"train_loss": loss(p, None, None), "first": p[0]},
    )


def visited(rates, clip=np.inf):
    """The parabola's p before every step and after the last, in float64."""
    p = [np.array([3.0, -4.0])]
    for rate in rates:
        gradient = np.array([1.0, 0.25]) * p[-1]
        p.append(p[-1] - rate * gradient * min(1, clip / np.linalg.norm(gradient)))
    return np.array(p)


def searched(folder, config, journal_rows):
    """(learning rates, metrics) of every run of a search on the parabola."""
    STUDY.run(config, folder, parabola())
    for (_, family, _, steps, _), row in journal_rows(folder).items():
        shape = np.asarray(FAMILIES[family].multipliers(row["params"], steps), np.float64)
        yield row["base_lr"] * shape, row


@pytest.fixture
def parabola_config(one_rung_config):
    small = {"workload": "parabola", "workload_options": {}, "learning_rates": (0.05, 0.5)}
    return lambda **changes: one_rung_config(**{**small, **changes})


def test_final_and_best_values_include_the_last_update(tmp_path, parabola_config, journal_rows):
    config = parabola_config(evaluations=4, metric="best_first", learning_rates=(0.5, 1.9))
    compared = 0
    for rates, row in searched(tmp_path, config, journal_rows):
        first = visited(rates)[:, 0]
        assert row["metrics"]["first"] == pytest.approx(first[-1], rel=1e-3, abs=1e-6)
        best = min(first[[5, 10, 15, 20]])
        assert row["score"] == row["metrics"]["best_first"] == pytest.approx(best, rel=1e-3, abs=1e-6)
        compared += best < first[-1] - 1e-3
    assert compared > 10  # the sign flips at every step: the end is often not the lowest


def test_a_run_that_diverges_has_no_best(tmp_path, parabola_config, journal_rows):
    # (60^10)² is a float32, and (60^20)² is none: half-way the loss is finite
    config = parabola_config(evaluations=2, metric="best_train_loss", learning_rates=(50.0, 60.0))
    rows = [row for _, row in searched(tmp_path, config, journal_rows)]
    assert {row["status"] for row in rows} == {"diverged"}
    assert {row["score"] for row in rows} == {np.inf}


@pytest.mark.parametrize("microbatches", [1, 2])
def test_clipped_runs_and_averaged_weights(tmp_path, parabola_config, journal_rows, microbatches):
    config = parabola_config(clip_norm=2.0, average_decay=0.8, microbatches=microbatches)
    for rates, row in searched(tmp_path, config, journal_rows):
        p = visited(rates, clip=2.0)[1:]
        average = np.average(p, axis=0, weights=0.8 ** np.arange(len(p))[::-1])
        assert row["score"] == pytest.approx(np.sum([1.0, 0.25] * average**2) / 2, rel=1e-3)


def test_gradients_that_are_taken_again_are_clipped_too():
    """SAM's on the parabola at (3, -4), which is H (w + ε) with ε of length ½ along H w = (3, -1)."""
    curvature, w = np.float32([1.0, 0.25]), jnp.float32([3.0, -4.0])
    build = clipped(lambda rate: optim.sharpness_aware(optax.sgd(rate), radius=0.5), 2.0)
    tx = build(1.0)
    again = {"grad_fn": lambda point: curvature * point}
    update, _ = jax.jit(lambda w: tx.update(curvature * w, tx.init(w), w, **again))(w)
    uphill = np.array([1.0, 0.25]) * (np.array([3.0, -4.0]) + 0.5 * np.array([3.0, -1.0]) / np.sqrt(10))
    np.testing.assert_allclose(update, -2 * uphill / np.linalg.norm(uphill), rtol=1e-6)


@pytest.mark.bits
def test_a_study_on_one_device_is_its_own_in_any_chunks(tmp_path, one_rung_config, journal_rows):
    config = one_rung_config()
    for chunk_runs in (7, 500):
        STUDY.run(config, tmp_path / str(chunk_runs), devices=1, chunk_runs=chunk_runs)
    assert journal_rows(tmp_path / "7") == journal_rows(tmp_path / "500")


def test_runs_on_devices_that_share_batches_score_alike(tmp_path, one_rung_config, journal_rows):
    single, shared = one_rung_config(), one_rung_config(data_parallel=2)
    STUDY.run(single, tmp_path / "alone", devices=2)
    STUDY.run(shared, tmp_path / "shared", devices=4)
    first, other = journal_rows(tmp_path / "alone"), journal_rows(tmp_path / "shared")
    sobol = [identity for identity in first if identity[0] == "screen"]
    assert len(sobol) == 2 * 16 * 2
    for identity in sobol:
        assert other[identity]["score"] == pytest.approx(first[identity]["score"], rel=1e-4)


def test_runs_in_bfloat16_differ_by_its_rounding(tmp_path, one_rung_config, journal_rows):
    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    rates = {"learning_rates": (0.1, 0.5)}
    STUDY.run(one_rung_config(**rates), wide)
    STUDY.run(one_rung_config(precision="bfloat16", **rates), narrow)
    first, other = journal_rows(wide), journal_rows(narrow)
    screened = [identity for identity in first if identity[0] == "screen"]
    changes = [other[identity]["score"] / first[identity]["score"] - 1 for identity in screened]
    assert 1e-5 < np.median(np.abs(changes)) < 0.02  # 2⁻⁸ in each of twenty gradients


@pytest.mark.parametrize(
    ("num_steps", "evaluations", "steps"),
    [(7, 1, [7]), (10, 4, [3, 5, 8, 10]), (3, 5, [1, 2, 3]), (7_810, 2, [3_905, 7_810])],
)
def test_evaluations_are_at_equal_distances_and_at_the_end(num_steps, evaluations, steps):
    assert evaluation_steps(num_steps, evaluations) == steps


def test_memory_is_filled_by_the_widest_power_of_two_and_a_begun_study_keeps_its_own(
    tmp_path, tiny_config, monkeypatch
):
    def width(memory, folder=tmp_path / "new"):
        monkeypatch.setattr("experiments.shape_search.runs.device_memory", lambda mesh: memory)
        execution = Execution(devices=2, chunk_runs=4)
        return with_widest_vectorize(tiny_config(), folder, execution).vectorize

    assert width(10**9) == 2  # four runs on two devices
    with pytest.raises(
        StudyError, match=r"fill_memory: memory must be at least .* bytes a device for one run"
    ):
        width(100)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.json").write_text(json.dumps({"vectorize": 4}))
    assert width(10**9, tmp_path / "begun") == 4


def test_the_paper_s_families_are_searched_at_its_scale():
    assert set(PAPER_FAMILIES) < set(FAMILIES)
    for name in ("cifar10", "wikitext103"):
        assert PRESETS[name].families == PAPER_FAMILIES
        assert PRESETS[name].confirm_replicates == 100  # as in the paper's figures
