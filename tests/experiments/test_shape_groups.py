"""A shape search with a curve for matrices and one for all else: its journal, winners and exports."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import export
from experiments.shape_search import STUDY, Config
from experiments.study.options.errors import StudyError
from experiments.study.training.optimizers import OPTIMIZERS
from schedules import FAMILIES, load_winner
from schedules.search import named_key
from tests.experiments.journals import forget_runs, runs_of
from tests.experiments.small_study import call, unwrapped
from tests.experiments.test_export import csv_columns, executed, exported
from workloads import Workload, run_keys

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
    chosen = {"optimizer": "spectral_descent", "groups": GROUPS, "ratios": (0.1, 10.0)}
    small = {"families": ("cosine",), "runs": 40, "num_steps": STEPS, "batch_size": 4}
    return Config(workload="bowl", learning_rates=(0.1, 10.0), **{**chosen, **small, **options})


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
        assert winner["group_params"] == dict.fromkeys(GROUPS, winner["params"])
        loaded = [load_winner(study[0] / "winners.json", winner["family"], group) for group in GROUPS]
        assert [found.base_lr for found in loaded] == [
            row["base_lr"] * factor for factor in (1.0, row["params"]["ratio"])
        ]
        rates = {group: found.base_lr for group, found in loaded[0].groups.items()}
        assert rates == dict(zip(GROUPS, [found.base_lr for found in loaded], strict=True))


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


OWN_SHAPES = config(shapes="own", runs=24, families=("constant",))


@pytest.fixture(scope="module")
def own_shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own_shapes") / "study"
    return folder, STUDY.run(OWN_SHAPES, folder, BOWL)


def test_a_winner_has_the_shape_of_each_group_in_its_file_its_report_and_the_exported_code(own_shapes):
    folder, results = own_shapes
    winner = results.challenger or results.best.winner.candidate
    second = {name: winner.params[f"second_{name}"] for name in FAMILIES[winner.family.name].space}
    first = {name: winner.params[name] for name in second}
    assert first != second
    expected = [
        factor * np.asarray(FAMILIES[winner.family.name].multipliers(shape, STEPS))
        for factor, shape in ((winner.base_lr, first), (winner.base_lr * winner.params["ratio"], second))
    ]
    for rates, group in zip(expected, GROUPS, strict=True):
        defined = executed(exported(folder, "optax", "--group", group))
        for name in (group, "schedule"):
            np.testing.assert_allclose([defined[name](step) for step in range(STEPS)], rates, rtol=1e-5)
        np.testing.assert_allclose(
            csv_columns(exported(folder, "csv", "--group", group))[2], rates, rtol=1e-5
        )
    report = (folder / "report.html").read_text()
    for figure in ("winning_shapes", "near_best_shapes", "found_shapes"):
        assert all(f"alt='{figure}_{group}'" in report for group in GROUPS)


def risen(warmup):
    """Of a constant schedule: a line to 1 over its warm-up, at each step."""
    times = np.arange(STEPS) / STEPS
    return np.where(times < warmup, times / max(warmup, 1e-30), 1.0)


def test_a_run_is_a_plain_loop_with_a_schedule_made_by_hand_for_each_shape(own_shapes):
    runs = runs_of(own_shapes[0])
    row = next(run for run in runs if (run["group"], run["stage"]) == ("constant", "confirm"))
    params, rates = row["params"], row["base_lr"] * risen(row["params"]["warmup"])
    others = row["base_lr"] * params["ratio"] * risen(params["second_warmup"])
    schedules = [jnp.asarray(table, jnp.float32).__getitem__ for table in (rates, others)]
    optimizer = OPTIMIZERS["spectral_descent"].grouped.chain(0.0)(*schedules)
    keys = run_keys(named_key(jax.random.key(0), "confirm", row["replicate"]))

    @jax.jit
    def trained(keys):
        weights = BOWL.init(keys.init)
        state = optimizer.init(weights)
        for indices in BOWL.indices(keys.data, 4, STEPS):
            gradients = jax.grad(loss)(weights, BOWL.data[indices], None)
            updates, state = optimizer.update(gradients, state, weights)
            weights = optax.apply_updates(weights, updates)
        return loss(weights, BOWL.data, None)

    assert row["metrics"]["train_loss"] == pytest.approx(float(trained(keys)), rel=1e-4)


def test_a_search_of_two_shapes_that_stopped_goes_on_to_the_same_end(own_shapes, tmp_path):
    folder = shutil.copytree(own_shapes[0], tmp_path / "study")
    assert forget_runs(folder, "stage != 'screen'", "kind = 'winners'")
    STUDY.run(OWN_SHAPES, folder, BOWL)
    assert (folder / "winners.json").read_bytes() == (own_shapes[0] / "winners.json").read_bytes()


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
        ({"groups": (), "shapes": "own"}, "shapes: are those of two groups, and there are none"),
        ({"shapes": "two"}, "shapes: there is no 'two' Known: shared, own."),
        ({"ratios": (0.0, 1.0)}, "ratios: must be two, positive, finite and ascending"),
        ({"ratios": (2.0, 1.0)}, "ratios: must be two, positive, finite and ascending"),
    ],
)
def test_groups_that_the_optimizer_has_not_are_refused(options, told):
    with pytest.raises(StudyError) as refused:
        config(**options)
    assert told in str(refused.value)
