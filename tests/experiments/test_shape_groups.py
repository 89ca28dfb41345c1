"""A shape search with a curve for matrices and one for all else: its journal, winners and exports."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import export
from experiments.shape_search import STUDY, Config
from experiments.study.options.errors import StudyError
from schedules import load_winner
from tests.experiments.journals import runs_of
from tests.experiments.small_study import call, unwrapped
from tests.experiments.test_export import csv_columns, executed, exported
from workloads import Workload

GROUPS = ("matrices", "others")
STEPS = 4
PARAMS = {"layer": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}}


def loss(params, batch, key):
    """Steep in the matrix, flat in the vector, of a noise that is the batch's."""
    kernel, bias = params["layer"]["kernel"], params["layer"]["bias"]
    return jnp.mean((kernel - batch.mean()) ** 2) + 0.1 * jnp.mean((bias - batch.mean()) ** 2)


BOWL = Workload(
    data=0.1 * jnp.asarray(np.random.default_rng(0).normal(size=16), jnp.float32),
    init=lambda key: jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(key, leaf.shape), PARAMS),
    indices=lambda key, batch_size, num_steps: jax.random.randint(key, (num_steps, batch_size), 0, 16),
    batch=lambda data, indices: data[indices],
    loss=loss,
    evaluate=lambda params, data: {"train_loss": loss(params, data, None)},
)


def config(**options):
    chosen = {"optimizer": "spectral_descent", "groups": GROUPS, "ratios": (0.1, 10.0), **options}
    small = {"families": ("cosine",), "runs": 40, "num_steps": STEPS, "batch_size": 4}
    return Config(workload="bowl", **small, learning_rates=(0.1, 10.0), **chosen)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups") / "study"
    return folder, STUDY.run(config(), folder, BOWL)


@pytest.fixture(scope="module")
def winners(study):
    return json.loads((study[0] / "winners.json").read_text())["winners"]


def test_every_run_has_a_ratio_in_the_journal_and_its_curves(study):
    ratios = [row["params"]["ratio"] for row in runs_of(study[0])]
    assert len(set(ratios)) > 8
    assert 0.1 <= min(ratios) < 1 < max(ratios) <= 10


def test_a_winner_is_loaded_with_the_rate_of_either_group(study, winners):
    confirmed = {row["group"]: row for row in runs_of(study[0]) if row["stage"] == "confirm"}
    for winner in winners:
        row = confirmed[winner["family"]]
        assert winner["groups"] == {"matrices": 1.0, "others": row["params"]["ratio"]}
        assert {**winner["params"], "ratio": winner["groups"]["others"]} == row["params"]
        loaded = [load_winner(study[0] / "winners.json", winner["family"], group) for group in GROUPS]
        assert [found.base_lr for found in loaded] == [
            row["base_lr"] * factor for factor in (1.0, row["params"]["ratio"])
        ]
        assert loaded[0].groups == dict(zip(GROUPS, [found.base_lr for found in loaded], strict=True))


def test_the_exported_code_has_both_schedules_and_the_optimizer_that_they_drive(study):
    folder, results = study
    winner = results.challenger or results.best.winner.candidate
    expected = winner.base_lr * np.asarray(winner.family.multipliers(winner.params, STEPS))
    for row, group in enumerate(GROUPS):
        np.testing.assert_allclose(
            csv_columns(exported(folder, "csv", "--group", group))[2], expected[row], rtol=1e-6
        )
        defined = executed(exported(folder, "optax", "--group", group))
        for name, rates in zip(GROUPS, expected, strict=True):
            np.testing.assert_allclose([defined[name](step) for step in range(STEPS)], rates, rtol=1e-5)
        np.testing.assert_array_equal(defined["schedule"](1), defined[group](1))
    optimizer_line = exported(folder, "optax", "--group", "others").splitlines()[-1]
    assert optimizer_line.startswith("optimizer = optim.spectral_descent(learning_rate=matrices, ")
    assert "fallback_learning_rate=others" in optimizer_line
    status, output = call(export.main, folder, "--as", "optax")
    assert (status, "its groups (matrices, others), got None" in unwrapped(output)) == (2, True)


def test_a_shape_is_predicted_with_its_ratio(study, tmp_path):
    question = ["predict", study[0], "--family", "cosine", "--base-lr", "1", "--params", "warmup=0.1"]
    status, output = call(STUDY.main, *question, "ratio=0.5")
    assert (status, "expected lower than cosine with probability" in unwrapped(output)) == (0, True)
    refusals = {("",): "missing parameter 'ratio'", ("ratio=-1",): "ratio must be in (0, inf)"}
    for words, told in refusals.items():
        status, output = call(STUDY.main, *question, *filter(None, words))
        assert (status, told in unwrapped(output)) == (2, True)
    status, output = call(STUDY.main, "predict", study[0], "--schedule", tmp_path / "rates.csv")
    assert (status, "no curve for each of matrices and others" in unwrapped(output)) == (2, True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"optimizer": "sgd"},
            "groups: sgd has one learning rate for all, only optax_muon, spectral_descent,",
        ),
        ({"optimizer": "sam"}, "groups: sam has one learning rate for all"),
        ({"groups": ("matrices", "aux")}, "groups: must be matrices and others with spectral_descent, got"),
        ({"groups": ("others", "matrices")}, "groups: must be matrices and others"),
        ({"groups": ("matrices",)}, "groups: must be two names"),
        ({"groups": (), "ratios": (0.1, 1.0)}, "ratios: are those of two groups, and there are none"),
        ({"ratios": (0.0, 1.0)}, "ratios: must be two, positive, finite and ascending"),
        ({"ratios": (2.0, 1.0)}, "ratios: must be two, positive, finite and ascending"),
    ],
)
def test_groups_that_the_optimizer_has_not_are_refused(options, told):
    with pytest.raises(StudyError) as refused:
        config(**options)
    assert told in str(refused.value)
