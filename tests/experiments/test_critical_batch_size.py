"""The study of critical batch sizes: its runs against a plain loop, and what its options may not be."""

import json
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import workloads
from experiments.critical_batch_size.config import Config, Contestant
from experiments.critical_batch_size.runs import fresh_noise
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.tuning import Setting, Trial

DIMENSION, BATCHES, TARGET, REPLICATES = 16, (2, 4, 8), 0.06, 3
NOISE_BATCH, PARTS = 16, 4
VARIANTS = ("momentum", "momentum β=0.5", "momentum λ=0.25")

pytestmark = pytest.mark.xdist_group("critical_batch_size")


@pytest.fixture(scope="module")
def folder(finished_studies):
    """Of a study in which not all runs get to the target."""
    return finished_studies("critical_batch_size").folder


def named(key, name):
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def gradient_of(weights, rows):
    """Of (D/2) mean((rows w)²)."""
    return DIMENSION * rows.T @ (rows @ weights) / len(rows)


def plain_run(rate, momentum, decay, batch_size, replicate, num_steps):
    """The loss after every update of heavy ball, the weights before each, and the key of its probes."""
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    root = np.asarray(workload.data, np.float64)

    @jax.jit
    def drawn(key):
        init, order, _, probing = jax.random.split(key, 4)
        return workload.init(init), workload.indices(order, batch_size, num_steps), probing

    start, batches, probing = drawn(jax.random.fold_in(named(jax.random.key(0), "confirm"), replicate))
    weights, sums = np.asarray(start, np.float64), 0.0
    losses, path = [], []
    for rows in np.asarray(batches):
        path.append(weights)
        sums = momentum * sums + gradient_of(weights, root[rows])
        weights = weights - rate * (sums + decay * weights)
        losses.append(np.mean((root @ weights) ** 2) / 2)
    return np.array(losses), path, probing


def crossing(losses, steps):
    """By NumPy's interpolation of the curve between the two evaluations around the target."""
    first = next(k for k, step in enumerate(steps) if losses[step - 1] <= TARGET)
    neighbours = np.array(steps[first - 1 : first + 1])
    return np.interp(-TARGET, -losses[neighbours - 1], neighbours)


@pytest.mark.parametrize(("name", "momentum", "decay"), [(VARIANTS[1], 0.5, 0), (VARIANTS[2], 0.9, 0.25)])
def test_steps_and_noise_scales_are_those_of_a_plain_loop(folder, journal_rows, name, momentum, decay):
    rows = journal_rows(folder).items()
    (row,) = [row for i, row in rows if (*i[:2], i[4]) == ("confirm", f"{name} @ 4", 2)]
    assert row["params"] == {"batch_size": 4, "momentum": momentum, "weight_decay": decay}
    losses, path, probing = plain_run(row["base_lr"], momentum, decay, 4, 2, num_steps=40)
    assert row["score"] == pytest.approx(
        crossing(losses, (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29, 38, 40)), rel=1e-3
    )
    assert row["metrics"]["steps"] == row["score"]
    assert row["metrics"]["train_loss"] == pytest.approx(losses[-1], rel=1e-3)
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    indices = jax.jit(lambda key: workload.indices(key, NOISE_BATCH, 1))
    for step in (0, 10, 20, 30):
        (chosen,) = np.asarray(indices(jax.random.fold_in(probing, step)))
        examples = np.asarray(workload.data, np.float64)[chosen].reshape(PARTS, -1, DIMENSION)
        expected = noise_scales([[gradient_of(path[step], part)] for part in examples], NOISE_BATCH)
        found = {name: row["metrics"][f"noise_{name}@{step}"] for name in expected}
        assert found == pytest.approx(expected, rel=5e-3)


def test_fresh_noise_is_that_of_its_examples_in_every_geometry():
    digits, key = workloads.load("digits"), jax.random.key(3)

    @jax.jit
    def noise_and_gradients(data):
        params, rows = digits.init(jax.random.key(1)), digits.indices(key, 16, 1).reshape(2, 8)
        gradient = jax.grad(digits.loss)
        parts = jax.vmap(lambda part: gradient(params, digits.batch(data, part), key))(rows)
        return fresh_noise(digits, 16, 2, params, data, key), parts

    found, gradients = noise_and_gradients(digits.data)
    parts = [
        [leaf[part] for leaf in jax.tree.leaves(jax.tree.map(np.asarray, gradients))] for part in range(2)
    ]
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        noise_scales(parts, 16), rel=1e-3
    )


def noise_scales(parts, examples):
    """From the definitions in float64: of each part the gradients of all leaves."""
    noise, signal = np.zeros(3), np.zeros(3)
    factor = examples / len(parts)  # of the variance between means of so many examples
    for leaf in zip(*parts, strict=True):
        stack = np.array(leaf, np.float64)
        mean, deviations = stack.mean(axis=0), np.sqrt(factor * stack.var(axis=0, ddof=1))
        sign = spectral = np.array([deviations.sum(), np.abs(mean).sum()])
        if mean.ndim == 2:
            turned = stack if stack.shape[1] <= stack.shape[2] else stack.transpose(0, 2, 1)
            centred = turned - turned.mean(axis=0)
            covariance = factor * sum(part @ part.T for part in centred) / (len(parts) - 1)
            roots = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
            spectral = np.array([roots.sum(), np.linalg.norm(mean, "nuc")])
        noise += [np.sum(deviations**2), sign[0], spectral[0]]
        signal += [np.sum(mean**2), sign[1], spectral[1]]
    ratios = noise / signal
    return {"euclidean": ratios[0], "sign": ratios[1] ** 2, "spectral": ratios[2] ** 2}


def test_screening_measures_no_noise_and_every_variant_gets_as_many_runs(folder, journal_rows):
    rows = journal_rows(folder)
    groups = {f"{name} @ {size}" for name in VARIANTS for size in BATCHES}
    assert {i[1] for i in rows} == groups
    for group in groups:
        runs = {i: row for i, row in rows.items() if i[1] == group}
        noisy = {i for i, row in runs.items() if any("noise" in name for name in row["metrics"])}
        assert noisy == {i for i in runs if i[0] == "confirm"}
        assert (len(runs), len(noisy)) == (4 + REPLICATES, REPLICATES)


def test_a_run_that_never_gets_there_is_kept_and_scores_infinity(folder, journal_rows):
    rows = journal_rows(folder)
    never = {i: row for i, row in rows.items() if math.isinf(row["score"])}
    assert {i[0] for i in never} == {"screen", "confirm"}
    for row in never.values():
        assert row["metrics"]["steps"] is None
        assert row["metrics"]["train_loss"] is None or row["metrics"]["train_loss"] > 0.1 * TARGET
    points = {
        (winner["momentum"], winner["weight_decay"], point["batch_size"]): point
        for winner in json.loads((folder / "winners.json").read_text())["winners"]
        for point in winner["batches"]
    }
    names = {(0.9, 0.0): VARIANTS[0], (0.5, 0.0): VARIANTS[1], (0.9, 0.25): VARIANTS[2]}
    for (momentum, decay, size), point in points.items():
        group = f"{names[momentum, decay]} @ {size}"
        missed = [i for i in never if i[:2] == ("confirm", group)]
        assert (point["replicates"], point["not_reached"]) == (REPLICATES, len(missed))


def test_seeds_are_shared_by_all_that_is_compared():
    root = jax.random.key(0)

    def key_of(variant, size, place, replicate):
        trial = Trial("confirm", Contestant(variant, size), Setting(place, 0.1), 0, replicate)
        return tuple(jax.random.key_data(trial.key(root)).tolist())

    variants = Config().variants
    shared = {key_of(v, size, place, 0) for v in variants for size in (8, 512) for place in (-1, 2)}
    assert len(shared) == 1
    assert key_of(variants[0], 8, 0, 1) not in shared


@pytest.mark.parametrize("name", ["momentum", "adam", "adamw", "signum", "muon", "orth_dion"])
def test_the_usual_momentum_is_the_optimizer_as_it_is_and_another_may_be_traced(name):
    params = {"hidden": jnp.arange(6.0).reshape(2, 3) / 7, "bias": jnp.ones(3)}
    optimizer = OPTIMIZERS[name]

    def two_steps(build):
        transformation = build(lambda count: 0.1)
        state, moved = transformation.init(params), params
        for scale in (1.0, -0.3):
            gradients = jax.tree.map(lambda w, scale=scale: scale * jnp.cos(9 * w), moved)
            updates, state = transformation.update(gradients, state, moved)
            moved = jax.tree.map(jnp.add, moved, updates)
        return moved

    @jax.jit
    def with_momentum(momentum):
        return two_steps(lambda schedule: optimizer.with_momentum(schedule, 0.01, momentum))

    usual = jax.jit(lambda: two_steps(lambda schedule: optimizer.build(schedule, 0.01)))()
    for leaf, chosen in with_momentum(optimizer.usual_momentum).items():
        np.testing.assert_allclose(chosen, usual[leaf], rtol=2e-4, atol=2e-4)
    assert np.any(np.abs(with_momentum(0.25)["hidden"] - usual["hidden"]) > 1e-3)
