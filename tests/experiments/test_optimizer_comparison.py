"""A small comparison: its scores, its winners, its errors."""

import dataclasses
import functools
import json
import zlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
import workloads
from experiments.optimizer_comparison import STUDY
from experiments.optimizer_comparison.claims import CLAIMED, claims
from schedules.search import standings

STEPS, BATCH = 40, 32
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
    assert {"momentum", "adamw", "lion", "optax_muon", "muon", "dion", "orth_dion"} <= set(preset.compared)
    assert CLAIMED.keys().isdisjoint(preset.compared)


def claims_of(*optimizers):
    """Where MuonH's losses are a tenth above all others' and NorMuon's as far below."""
    config = dataclasses.replace(STUDY.presets["transformer"], optimizers=optimizers)
    losses, factors = np.random.default_rng(0).uniform(1, 2, 16), {"muonh": 1.1, "normuon": 0.9}
    confirmed = {name: SimpleNamespace(scores=factors.get(name, 1.0) * losses) for name in config.compared}
    return {claim.subject: claim for claim in claims(standings(confirmed, config.references, 0.95))}


def test_variants_of_muon_are_judged_by_their_change_from_it():
    judged = claims_of("muon", *CLAIMED)
    held = {"muonh": False, "normuon": True, "muon_cautious": False, "muonclip": True}
    assert {name: claim.held for name, claim in judged.items()} == held
    assert judged["normuon"].effect.value == pytest.approx(-0.1)
    assert not claims_of("signum", *CLAIMED)
