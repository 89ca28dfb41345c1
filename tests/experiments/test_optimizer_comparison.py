"""A small comparison: its scores, its winners, its errors."""

import dataclasses
import functools
import json
import zlib
from types import MappingProxyType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
import workloads
from experiments.optimizer_comparison import STUDY, Config
from experiments.optimizer_comparison.claims import SCHEDULE_FREE, VARIANTS, claims
from experiments.optimizer_comparison.runs import program
from schedules.search import named_key, standings

STEPS, BATCH = 40, 32
KEY = jax.random.key(0)
RUNS = 2 * (4 * 2 * 2 + 4)  # adamw is added

pytestmark = pytest.mark.xdist_group("optimizer_comparison")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("optimizer_comparison").folder


@functools.cache
def workload():
    return workloads.load("digits", model="mlp")


def loss_of_a_plain_loop(transformation, stage, replicate):
    """Train step by step with optax alone, from the keys named after the stage and the replicate."""
    key = jax.random.fold_in(KEY, zlib.crc32(stage.encode()))
    init, data, *_ = jax.random.split(jax.random.fold_in(key, replicate), 4)

    @jax.jit
    def train(data_set, init, data):
        def step(run, rows):
            params, state = run
            gradient = jax.grad(workload().loss)(params, workload().batch(data_set, rows), init)
            updates, state = transformation.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        params = workload().init(init)
        start = params, transformation.init(params)
        (params, state), _ = jax.lax.scan(step, start, workload().indices(data, BATCH, STEPS))
        return workload().evaluate(optim.evaluation_params(state, params), data_set)["train_loss"]

    return float(train(workload().data, init, data))


def linear_with_warmup(peak):
    x = np.arange(STEPS) / STEPS
    table = peak * jnp.asarray(np.minimum(x / 0.1, (1 - x) / 0.9), jnp.float32)
    return lambda count: table[count]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("muon", lambda lr, wd: optim.muon(lr, scale="rms", weight_decay=wd, fallback_weight_decay=wd)),
        ("adamw", lambda lr, wd: optax.adamw(lr, weight_decay=wd)),
    ],
)
def test_a_score_is_that_of_a_plain_training_loop(folder, journal_rows, name, build):
    rows = {i: row for i, row in journal_rows(folder).items() if i[:2] == ("screen", name) and i[2] == 1}
    assert len(rows) == 4 * 2
    (stage, _, _, _, replicate), row = max(rows.items(), key=lambda item: item[1]["base_lr"])
    peak = row["base_lr"]
    assert row["params"]["decay"] == 0.01
    transformation = build(linear_with_warmup(peak), 0.01 / peak)
    assert row["score"] == pytest.approx(loss_of_a_plain_loop(transformation, stage, replicate), rel=2e-3)


def test_the_winners_are_the_medians_of_the_journal_in_ascending_order(folder, journal_rows):
    content = json.loads((folder / "winners.json").read_text())
    rows = journal_rows(folder)
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


def test_the_transformer_preset_compares_all_optimizers_on_text():
    preset = STUDY.presets["transformer"]
    assert preset.workload == "shakespeare"
    matrix_methods = {"optax_muon", "muon", "dion", "orth_dion"}
    assert {"momentum", "adamw", "lion", "schedule_free", *matrix_methods} <= set(preset.compared)
    assert VARIANTS.keys().isdisjoint(preset.compared)


def claims_of(*optimizers, factors=MappingProxyType({"muonh": 1.1, "normuon": 0.9})):
    """Where the losses of some are others' times a factor."""
    config = dataclasses.replace(STUDY.presets["transformer"], optimizers=optimizers)
    losses = np.random.default_rng(0).uniform(1, 2, 16)
    confirmed = {name: SimpleNamespace(scores=factors.get(name, 1.0) * losses) for name in config.compared}
    return {claim.subject: claim for claim in claims(standings(confirmed, config.references, 0.95))}


def test_variants_of_muon_are_judged_by_their_change_from_it():
    judged = claims_of("muon", *VARIANTS)
    held = {"muonh": False, "normuon": True, "muon_cautious": False, "muonclip": True}
    assert {name: claim.held for name, claim in judged.items()} == held
    assert judged["normuon"].effect.value == pytest.approx(-0.1)
    assert not claims_of("signum", *VARIANTS)


@pytest.mark.parametrize(("factor", "held"), [(0.9, True), (1.0, True), (1.1, False)])
def test_schedule_free_steps_are_judged_by_their_change_from_adamw(factor, held):
    judged = claims_of(SCHEDULE_FREE, "muon", factors={SCHEDULE_FREE: factor})
    assert {name: claim.held for name, claim in judged.items()} == {SCHEDULE_FREE: held}
    assert judged[SCHEDULE_FREE].effect.value == pytest.approx(factor - 1, abs=1e-9)


def test_schedule_free_steps_keep_their_rate_after_the_warm_up_and_are_scored_at_their_average():
    options = {"workload_options": {"model": "mlp"}, "optimizers": (SCHEDULE_FREE,)}
    config = Config(num_steps=STEPS, batch_size=BATCH, curve_points=1, **options)
    row = {"learning_rate": jnp.float32(0.05), "decay": jnp.float32(0.0), "key": named_key(KEY, "confirm", 3)}
    trained = program(SCHEDULE_FREE, config, workload(), (STEPS,)).train(row, workload().data)
    metrics = jax.jit(lambda: trained.whole(STEPS))()
    table = jnp.asarray(0.05 * np.minimum(np.arange(STEPS) / STEPS / 0.1, 1.0), jnp.float32)
    optimizer = optim.schedule_free(
        lambda rate: optax.adamw(rate, b1=0.0, weight_decay=0.0), table.__getitem__
    )
    expected = loss_of_a_plain_loop(optimizer, "confirm", 3)
    assert float(metrics["train_loss"][-1]) == pytest.approx(expected, rel=1e-3)
