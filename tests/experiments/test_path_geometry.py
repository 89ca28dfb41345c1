"""Path geometry: what is measured is what a plain loop finds, and what follows is what the numbers say."""

import functools
import json
import zlib
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import workloads
from experiments.path_geometry import Config
from experiments.path_geometry.paths import (
    LABELS,
    Group,
    Paths,
    late_to_early,
    path_claims,
    random_walk_cosines,
    schedule_claims,
)
from experiments.path_geometry.runs import (
    path_trials,
    prescribed_family,
    prescribed_rates,
    replayed_path,
    untuned,
)
from experiments.study.showing.claims import summary
from experiments.study.storage.journal import Journal
from schedules.search import Estimate, Standing

STEPS, BATCHES, REPLICATES, RATE = 48, (8, 32), 3, 0.25

pytestmark = pytest.mark.xdist_group("path_geometry")


@pytest.fixture(scope="module")
def finished(finished_studies):
    return finished_studies("path_geometry").folder


@pytest.fixture(scope="module")
def journal_rows(finished):
    """The rows of a stage."""
    with Journal(finished / "journal.sqlite") as journal:
        yield journal.rows


@pytest.fixture(scope="module")
def measured(journal_rows):
    """(labels, batch size, replicate) → the metrics of a measured run."""
    return {
        (labels, row.label["batch_size"], row.replicate): row.metrics
        for labels in LABELS
        for row in journal_rows(labels)
    }


def series(metrics, name):
    return np.array([metrics[f"{name}@{step}"] for step in range(STEPS)])


@functools.cache
def workload():
    return workloads.load("digits", width=8)


@functools.partial(jax.jit, static_argnums=2)
def plain_run(data, key, batch_size):
    """Every parameter vector and the gradient there, then the last parameters."""

    def step(params, rows):
        gradient = jax.grad(workload().loss)(params, workload().batch(data, rows), None)
        stepped = jax.tree.map(lambda w, g: w - RATE * g, params, gradient)
        return stepped, (ravel_pytree(params)[0], ravel_pytree(gradient)[0])

    init, order, *_ = jax.random.split(key, 4)
    rows = workload().indices(order, batch_size, STEPS)
    end, history = jax.lax.scan(step, workload().init(init), rows)
    return *history, ravel_pytree(end)[0]


def plain_path(labels, batch_size, replicate):
    """Every parameter vector and gradient of a run trained step by step, from the keys named after it."""
    named = jax.random.fold_in(jax.random.key(0), zlib.crc32(b"path"))
    key = jax.random.fold_in(named, replicate)
    data = workload().data
    if labels == "random labels":
        shuffling = jax.random.fold_in(key, zlib.crc32(b"labels"))
        data = data._replace(train_labels=jax.random.permutation(shuffling, data.train_labels))
    path, gradients, end = plain_run(data, key, batch_size)
    return np.vstack([path, end]).astype(np.float64), np.asarray(gradients, np.float64)


@pytest.mark.parametrize("labels", LABELS)
def test_what_is_measured_is_what_a_plain_loop_finds(measured, labels):
    path, gradients = plain_path(labels, 8, replicate=1)
    lines = path[:-1] - path[-1]
    inner, squared_line, squared = (
        np.sum(a * b, axis=1) for a, b in ((gradients, lines), (lines, lines), 2 * (gradients,))
    )
    expected = {
        "rsi": inner / squared_line,
        "eb": np.sqrt(squared / squared_line),
        "cosine": inner / np.sqrt(squared * squared_line),
        "step": inner / squared,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(
            series(measured[labels, 8, 1], f"gradient_{name}"), values, rtol=2e-3, err_msg=name
        )


def test_every_replay_ends_where_the_first_pass_did_so_the_last_step_of_sgd_leads_to_its_end(measured):
    assert len(measured) == len(LABELS) * len(BATCHES) * REPLICATES
    for metrics in measured.values():
        assert metrics["exact_replay"] == 1
        # w - w* is the last update itself; it is the difference of rounded parameters
        assert metrics[f"gradient_cosine@{STEPS - 1}"] == pytest.approx(1, abs=1e-5)
        assert metrics[f"gradient_step@{STEPS - 1}"] == pytest.approx(RATE, rel=1e-4)


def test_the_update_of_sgd_is_its_gradient_times_the_rate(measured):
    for metrics in measured.values():
        for name, factor in (("cosine", 1), ("step", 1 / RATE), ("rsi", RATE), ("eb", RATE)):
            gradient, update = (series(metrics, f"{vector}_{name}") for vector in ("gradient", "update"))
            np.testing.assert_allclose(update, factor * gradient, rtol=1e-4)


def test_random_directions_lie_within_their_band(measured):
    # 64·8 + 8 + 8·10 + 10 parameters: γ √d is normal, its square has the variance 2
    cosines = np.concatenate([series(metrics, "random_cosine") for metrics in measured.values()])
    deviations = cosines * np.sqrt(610)
    assert {metrics["parameters"] for metrics in measured.values()} == {610}
    assert abs(np.mean(deviations)) < 4 / np.sqrt(deviations.size)
    assert abs(np.mean(deviations**2) - 1) < 4 * np.sqrt(2 / deviations.size)


def test_seeds_are_shared_by_what_is_compared_and_by_nothing_else(measured):
    config = Config(optimizers=("sgd", "adam"), learning_rates=(0.1, 0.1), replicates=2)
    root = jax.random.key(0)
    keys = {}
    groups = Group("sgd", 16), Group("adam", 64), Group("adam", 64, "random labels")
    for trial in (trial for group in groups for trial in path_trials(group, config)):
        keys.setdefault(trial.identity[-1], set()).add(tuple(jax.random.key_data(trial.key(root)).tolist()))
    assert [len(replicate_keys) for replicate_keys in keys.values()] == [1, 1]
    scoring = [
        jax.random.fold_in(jax.random.fold_in(root, zlib.crc32(stage)), 0)
        for stage in (b"screen", b"select", b"confirm")
    ]
    assert keys[0] not in [{tuple(jax.random.key_data(key).tolist())} for key in scoring]
    assert measured["true labels", 8, 0]["train_loss"] != measured["random labels", 8, 0]["train_loss"]


def test_every_tuned_schedule_gets_as_many_runs(journal_rows):
    stages = (*LABELS, "screen", "select", "confirm")
    runs = Counter(row.group for stage in stages for row in journal_rows(stage))
    tuning = 5 * 2 + 2 * 3
    assert runs == {
        "sgd": len(LABELS) * len(BATCHES) * REPLICATES,
        "cosine": tuning + 5,
        "prescribed": tuning + 5,
        "prescribed, untuned": 5,
    }


def test_the_prescription_is_the_smoothed_median_of_the_measured_steps(finished, measured):
    median = np.median([series(measured["true labels", 32, r], "gradient_step") for r in range(3)], axis=0)
    padded = [np.mean(median[max(0, t - 1) : t + 2]) for t in range(STEPS)]
    content = json.loads((finished / "winners.json").read_text())
    prescribed = {
        entry["schedule"]: entry for entry in content["winners"] if "prescribed" in entry["schedule"]
    }
    told = prescribed["prescribed, untuned"]
    np.testing.assert_allclose(np.multiply(told["base_lr"], told["multipliers"]), padded, rtol=1e-5)
    np.testing.assert_allclose(prescribed["prescribed"]["multipliers"], padded / np.max(padded), rtol=1e-5)


CURVATURE = 4.0
QUADRATIC = workloads.Workload(  # isotropic: a run keeps to the line through its end
    data=jnp.zeros(1),
    init=lambda key: jnp.array([1.0, -2.0, 3.0]),
    indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), int),
    batch=lambda data, indices: data,
    loss=lambda params, batch, key: CURVATURE / 2 * jnp.sum(params**2),
    evaluate=lambda params, data: {"train_loss": jnp.sum(params**2)},
)


def replayed_on_the_quadratic(rate, config):
    """The probes of sgd with that rate."""

    @jax.jit
    def replay(rate, key):
        return replayed_path("sgd", 1, config, QUADRATIC, QUADRATIC.data, rate, key)

    run, exact = replay(jnp.float32(rate), jax.random.key(0))
    assert exact
    return run.probes


def test_on_an_isotropic_quadratic_the_prescribed_step_is_known_in_closed_form():
    rate, steps = 0.05, 30
    probes = replayed_on_the_quadratic(rate, Config(num_steps=steps, probe_every=3))
    remaining = steps - np.arange(0, steps, 3)
    # to w* = (1 - ηh)^T w₀; 1/h for a long run
    expected = (1 - (1 - rate * CURVATURE) ** remaining) / CURVATURE
    measured = np.asarray(probes["step"][:, 0])
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    np.testing.assert_allclose(probes["cosine"][:, 0], 1, rtol=1e-6)
    rates = prescribed_rates(measured[None, :])
    assert rates[0] == pytest.approx((expected[0] + expected[1]) / 2, rel=1e-5)
    np.testing.assert_allclose(rates[1:-1], (expected[:-2] + expected[1:-1] + expected[2:]) / 3, rtol=1e-5)
    family = prescribed_family(rates, 3, steps)
    multipliers = np.asarray(family.multipliers({}, steps))
    np.testing.assert_allclose(untuned(rates, family).base_lr * multipliers[::3], rates, rtol=1e-5)
    np.testing.assert_allclose(multipliers[1], (2 * multipliers[0] + multipliers[3]) / 3, rtol=1e-5)
    assert multipliers.max() == 1


def test_the_update_that_is_measured_is_the_clipped_one():
    # every gradient is clipped, so all steps are equally long and the update's RSI is 1 / (steps to the end)
    config = Config(num_steps=30, probe_every=3, clip_norm=0.1)
    probes = replayed_on_the_quadratic(0.1, config)
    np.testing.assert_allclose(probes["rsi"][:, 1], 1 / (30 - np.arange(0, 30, 3)), rtol=1e-3)


def test_a_negative_prescription_is_no_step_at_all():
    assert prescribed_rates(np.array([[-3.0, -3.0, -3.0, 6.0, -3.0]])).tolist() == [0, 0, 2, 2, 3]


@pytest.mark.parametrize("rates", [np.ones(40), np.linspace(1, 0.1, 40)])
def test_a_random_walk_has_the_cosines_stated(rates):
    steps = rates[:, None] * np.random.default_rng(0).standard_normal((40, 20_000))
    lines = np.cumsum(steps[::-1], axis=0)[::-1]  # from before each step to the end
    norms = np.linalg.norm(steps, axis=1) * np.linalg.norm(lines, axis=1)
    cosines = np.sum(steps * lines, axis=1) / norms
    np.testing.assert_allclose(cosines, random_walk_cosines(rates), atol=5 / np.sqrt(20_000))


CONFIG = Config(optimizers=("sgd",), learning_rates=(0.1,), batch_sizes=(4, 16, 64), num_steps=60)


def made_up_paths(true=(0.1, 0.2, 0.2), random=0.15):
    """Twelve seeds of γ that is constant along each run, the seeds a factor of up to 1.1 apart."""
    seeds, steps = np.linspace(1, 1.1, 12)[:, None], np.ones((1, len(CONFIG.probed_steps)))
    heights = {
        Group("sgd", size, labels): height
        for labels, values in (("true labels", true), ("random labels", (random,) * 3))
        for size, height in zip(CONFIG.batch_sizes, values, strict=True)
    }
    cosines = {
        group: {"gradient_cosine": height * seeds * steps, "update_cosine": 10 * height**2 * seeds * steps}
        for group, height in heights.items()
    }
    return Paths(cosines, parameters=100, diverged=0, inexact=0)


def claims_of(paths):
    return {claim.statement: claim for claim in path_claims(paths, CONFIG)}


def test_claims_say_what_made_up_paths_are():
    # every fifth of 60 steps is probed: the middle of a walk's cosines lies between 35 and 30 steps left
    above_walk = 10 * 0.2**2 * 1.05 * (35**0.5 + 30**0.5) / 2
    expected = {
        "share of steps with γ > 0": (1.0, True),
        "share of steps with γ √d > 1.96": (1.0, True),
        "γ, last third over first": (1.0, True),
        "change of γ, batch 4 to 64": (1.0, False),  # it does not rise from 16 to 64
        "change of γ, random labels to true": (0.2 / 0.15 - 1, True),
        "update's γ over a random walk's": (above_walk, True),
        "change of update's γ, batch 4 to 64": (3.0, False),
        "change of update's γ, random labels to true": ((0.2 / 0.15) ** 2 - 1, True),
    }
    found = claims_of(made_up_paths())
    assert {name: claim.held for name, claim in found.items()} == {
        n: held for n, (_, held) in expected.items()
    }
    for name, (value, _) in expected.items():
        assert found[name].effect.value == pytest.approx(value), name


def test_gamma_grows_with_the_batch_where_it_rises_at_every_size():
    growing = claims_of(made_up_paths(true=(0.1, 0.2, 0.3)))["change of γ, batch 4 to 64"]
    assert (growing.effect.value, growing.held) == (pytest.approx(2), True)


def test_claims_fail_where_their_numbers_do():
    flat = claims_of(made_up_paths(true=(0.08, 0.08, 0.08), random=0.08))
    held = {name for name, claim in flat.items() if claim.held}
    # γ √d is below 1, inside the noise, and 10 · 0.08² is less than the walk's 0.18
    assert held == {"share of steps with γ > 0", "γ, last third over first"}
    paths = made_up_paths()
    central = paths.series[Group("sgd", 16, "true labels")]
    sinking = np.linspace(1, -0.2, len(CONFIG.probed_steps))[None, :]
    central["gradient_cosine"] = central["gradient_cosine"] * sinking
    found = claims_of(paths)
    assert found["share of steps with γ > 0"].effect.value == pytest.approx(10 / 12)
    assert not found["share of steps with γ > 0"].held
    assert not found["γ, last third over first"].held


def test_late_to_early_compares_the_outer_thirds():
    rising = np.array([[1.0, 2.0, 3.0, 50.0, 60.0, 70.0, 4.0, 6.0, 8.0]])
    assert late_to_early(rising).tolist() == [3.0]


def test_a_schedule_pays_where_the_whole_interval_lies_below_cosine():
    def standing(name, low, high):
        return Standing(
            name, None, Estimate(1, 1, 1), {"cosine": Estimate((low + high) / 2, low, high)}, None
        )

    ranked = [standing("prescribed", -0.2, -0.1), standing("prescribed, untuned", -0.2, 0.1)]
    untuned, tuned = schedule_claims([*ranked, standing("cosine", 0, 0)], "train_loss")
    assert (untuned.held, tuned.held) == (False, True)
    assert summary([untuned, tuned]) == [
        "change of train_loss from cosine, expected below 0:"
        " held for prescribed; did NOT hold for prescribed, untuned."
    ]
