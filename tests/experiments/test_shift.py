"""The study of shifts: its choices and errors from the journal, and what it fits, on errors made by hand."""

import json

import numpy as np
import pytest

from experiments.shift.config import SHAPES, Config, Contestant
from experiments.shift.equal_error import DIMINISHING, INCREASING, LINEAR, Fit, parabola
from schedules import FAMILIES
from tests.experiments.journals import runs_of

CONTESTANTS = [f"coloured/{optimizer}/{shape}" for optimizer in ("momentum", "adamw") for shape in SHAPES]

pytestmark = pytest.mark.xdist_group("shift")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("shift").folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "winners.json").read_text())


def wrong(metrics, condition):
    return sum(value for name, value in metrics.items() if name.startswith(f"wrong {condition} #"))


def test_the_setting_is_chosen_by_validation_images_and_tested_on_all_digits(folder, content):
    rows = {row["contestant"]: row for row in content["contest"]}
    for name in CONTESTANTS:
        screened, confirmed = (
            [run for run in runs_of(folder) if (run["stage"], run["group"]) == (stage, name)]
            for stage in ("screen", "confirm")
        )
        losses = {}
        for run in screened:
            losses.setdefault(run["base_lr"], []).append(run["metrics"]["validation_loss"])
        best = min(losses, key=lambda rate: np.median(losses[rate]))
        row = rows[name]
        assert row["learning_rate"] == best == confirmed[0]["base_lr"]
        trained = sum(wrong(run["metrics"], flip) for run in confirmed for flip in ("flip 0.1", "flip 0.2"))
        assert row["error"]["value"] == pytest.approx(trained / (2 * 1797))
        shifted = sum(wrong(run["metrics"], "flip 0.9") for run in confirmed)
        assert row["shifted_error"]["value"] == pytest.approx(shifted / 1797)


def test_the_shapes_are_the_ones_that_were_searched():
    config = Config(num_steps=50)
    cosine = config.multipliers("cosine")
    assert cosine == pytest.approx(FAMILIES["cosine"].multipliers({"warmup": 0.143}, 50))
    searched = np.asarray(config.multipliers("searched"))
    assert searched[0] == pytest.approx(0.164, abs=1e-6)  # y_start
    assert searched.max() == pytest.approx(1, abs=0.01)
    assert abs(np.argmax(searched) - 0.166 * 50) <= 1  # x_peak


def test_a_parabola_with_offsets_is_found_again():
    rng = np.random.default_rng(0)
    members, trained = rng.integers(3, size=60), rng.uniform(0.02, 0.2, size=60)
    own = np.array([0.0, 0.05, -0.02])
    shifted = np.stack([0.3 + own[members] + 2 * trained + c * trained**2 for c in (0.0, 4.0, -4.0)], axis=1)
    offsets, curvature = parabola(trained, shifted, members)
    assert offsets == pytest.approx(np.repeat((own - own.mean())[:, None], 3, axis=1), abs=1e-9)
    assert curvature == pytest.approx([0, -8, 8], abs=1e-7)


@pytest.mark.parametrize(("centre", "kind"), [(0.0, LINEAR), (9.0, INCREASING), (-9.0, DIMINISHING)])
def test_the_interval_of_the_curvature_says_the_kind(centre, kind):
    draws = np.random.default_rng(1).normal(size=1000)
    fit = Fit(("sgd",), (np.zeros(1), np.zeros((1000, 1))), (centre, centre + draws), 0.95)
    assert fit.kind == kind


def test_an_excess_is_between_the_means_of_groups():
    offsets = np.array([0.1, 0.3, -0.4])
    fit = Fit(
        ("sgd", "momentum", "adamw"), (offsets, np.tile(offsets, (1000, 1))), (0.0, np.zeros(1000)), 0.9
    )
    assert fit.excess(["adamw"], ["sgd", "momentum"]) == pytest.approx((-0.6, -0.6, -0.6))


def test_the_planned_runs_are_those_made():
    config = Config(tasks=("digits",), optimizers=("sgd",))
    assert config.contestants == tuple(
        Contestant("digits", name, shape) for name in ("sgd", "momentum") for shape in ("cosine", "searched")
    )
    assert config.planned_runs == 4 * (7 * 2 * 3 + 12)
