"""The scores in the journal are those of the runs that the specification describes.

Each run is done again outside the code under test: in closed form, in NumPy, or in a plain Python loop.
"""

import collections
import functools
import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.shape_search import STUDY
from tests.experiments.small_study import config_of
from workloads import Workload, load

pytestmark = [pytest.mark.usefixtures("no_report"), pytest.mark.xdist_group("finished")]


def keys_of(seed, stage, replicate):
    """(init, data) of a replicate: named after the stage and the replicate, and after nothing else."""
    return split_keys(seed, np.uint32(zlib.crc32(stage.encode())), replicate)


@jax.jit
def split_keys(seed, stage, replicate):
    key = jax.random.fold_in(jax.random.key(seed), stage)
    return jax.random.split(jax.random.fold_in(key, replicate), 4)[:2]


def constant_with_warmup(warmup, num_steps):
    """min(1, x / warmup) at x = t/T; 1 where there is no warm-up."""
    return np.minimum(1, np.arange(num_steps) / num_steps / warmup) if warmup else np.ones(num_steps)


def test_a_run_on_a_parabola_has_the_loss_of_its_closed_form(tmp_path, tiny_config, journal_rows):
    """SGD on p²/2 from p = 3 ends at 3 Π (1 - η_t)."""
    parabola = Workload(
        data=jnp.zeros(4),
        init=lambda key: jnp.asarray(3.0),
        indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), int),
        batch=lambda data, indices: data[indices],
        loss=lambda p, batch, key: p**2 / 2,
        evaluate=lambda p, data: {"train_loss": p**2 / 2},
    )
    config = tiny_config(
        workload="parabola", workload_options={}, learning_rates=(0.05, 0.3), strategy="sobol"
    )
    STUDY.run(config, tmp_path, parabola)
    rows = {steps: [] for steps in (10, 20)}
    for (_, family, _, steps, _), row in journal_rows(tmp_path).items():
        if family == "constant":
            rows[steps].append(row)
    assert [len({row["score"] for row in runs}) for runs in rows.values()] >= [10, 5]  # all, and who went on
    for steps, row in ((steps, row) for steps, runs in rows.items() for row in runs):
        rates = row["base_lr"] * constant_with_warmup(row["params"]["warmup"], steps)
        assert row["score"] == pytest.approx((3 * np.prod(1 - rates)) ** 2 / 2, rel=1e-4, abs=1e-12)


def test_a_run_of_linear_regression_is_sgd_on_the_residual(finished, journal_rows):
    """z ← z - η (D/B) K[:, b] z[b] from the replicate's own start and batches; the loss is ½ mean z²."""
    workload = load("linear_regression", dimension=8)
    root = np.asarray(workload.data, np.float64)
    kernel = root @ root.T
    indices = jax.jit(workload.indices, static_argnums=(1, 2))
    start_and_batches = functools.cache(
        lambda stage, replicate, steps: (
            root @ np.asarray(workload.init(keys_of(0, stage, replicate)[0]), np.float64),
            np.asarray(indices(keys_of(0, stage, replicate)[1], 4, steps)),
        )
    )
    compared = collections.Counter()
    for (stage, family, _, steps, replicate), row in journal_rows(finished.folder).items():
        if family != "constant":
            continue
        z, batches = start_and_batches(stage, replicate, steps)
        rates = row["base_lr"] * constant_with_warmup(row["params"]["warmup"], steps)
        for rate, batch in zip(rates, batches, strict=True):
            z = z - rate * 8 / 4 * kernel[:, batch] @ z[batch]
        assert row["score"] == pytest.approx(np.mean(z**2) / 2, rel=1e-4)
        compared[steps] += 1
    assert min(compared[10], compared[20]) >= 6


def test_all_families_start_a_replicate_from_the_same_parameters(tmp_path, tiny_config, journal_rows):
    """At a vanishing learning rate nothing moves: the loss is that of the replicate's start."""
    config = tiny_config(strategy="sobol", learning_rates=(1e-20, 2e-20), candidates=2, confirm_replicates=1)
    STUDY.run(config, tmp_path)
    workload = load("linear_regression", dimension=8)
    by_replicate = {}
    for (stage, _, _, _, replicate), row in journal_rows(tmp_path).items():
        by_replicate.setdefault((stage, replicate), set()).add(row["score"])
    starts = {}
    for (stage, replicate), scores in by_replicate.items():
        (starts[stage, replicate],) = scores
        z = np.asarray(workload.data @ workload.init(keys_of(0, stage, replicate)[0]), np.float64)
        assert starts[stage, replicate] == pytest.approx(np.mean(z**2) / 2, rel=1e-5)
    assert len(starts) == 3 + 3 + 1
    assert len(set(starts.values())) == len(starts)  # fresh seeds in every stage


@pytest.mark.parametrize(
    ("name", "decay_mode", "b1", "b2"),
    [
        ("momentum", "scaled", None, None),
        ("adamw", "scaled", None, None),
        ("adamw", "independent", 0.5, 0.75),
        ("lion", "scaled", 0.6, 0.7),
    ],
)
def test_optimizers_are_those_of_their_names(
    tmp_path, one_rung_config, journal_rows, name, decay_mode, b1, b2
):
    """One step from the same start, by the optimizers' formulas in NumPy."""
    decay = 0.0 if name == "momentum" else 0.1
    steps = {"num_steps": 2, "batch_size": 8, "candidates": 1}
    chosen = {"optimizer": name, "weight_decay": decay, "decay_mode": decay_mode, "b1": b1, "b2": b2}
    STUDY.run(one_rung_config(learning_rates=(0.1, 0.4), **steps, **chosen), tmp_path)
    row = journal_rows(tmp_path)["confirm", "constant", 0, 2, 0]
    workload = load("linear_regression", dimension=8)
    root = np.asarray(workload.data, np.float64)
    w = np.asarray(workload.init(keys_of(0, "confirm", 0)[0]), np.float64)
    m, v = np.zeros(8), np.zeros(8)
    if name == "adamw" and b1 is None:
        b1, b2 = 0.9, 0.999
    for t, rate in enumerate(row["base_lr"] * constant_with_warmup(row["params"]["warmup"], 2), start=1):
        g = root.T @ (root @ w)  # a batch of all eight: D/2 · mean (A w)² = ½ |A w|²
        if name == "momentum":
            m = 0.9 * m + g
            w = w - rate * m
        elif name == "adamw":
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
            step = rate * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
        else:
            step = rate * np.sign(b1 * m + (1 - b1) * g)
            m = b2 * m + (1 - b2) * g
        if name != "momentum":
            w = w - step - decay * w * (1 if decay_mode == "independent" else rate)
    assert row["score"] == pytest.approx(np.mean((root @ w) ** 2) / 2, rel=1e-4)


def test_same_learning_rates_in_one_replicate_give_the_same_run(tmp_path, tiny_config, journal_rows):
    """One step at learning rate 0, whatever the warm-up: then families differ by nothing at all."""
    config = tiny_config(
        strategy="sobol", num_steps=1, families=("rex", "linear"), candidates=2, confirm_replicates=1
    )
    STUDY.run(config, tmp_path)
    rows = journal_rows(tmp_path)
    at_zero = {}
    for (stage, _, _, _, replicate), row in rows.items():
        assert row["params"]["warmup"] > 0
        at_zero.setdefault((stage, replicate), set()).add(row["score"])
    assert all(len(scores) == 1 for scores in at_zero.values())
    assert len(at_zero) == 3 + 3 + 1
    assert all(a != b for a, b in itertools.pairwise(at_zero.values()))


def cross_entropy(logits, labels):
    largest = logits.max(axis=1, keepdims=True)
    logs = logits - largest - np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    return -np.mean(logs[np.arange(len(labels)), labels])


def test_a_run_on_digits_is_adam_on_the_network_step_by_step(tmp_path, journal_rows):
    """Forward passes in NumPy, Adam's formula in NumPy: the loop that the compiled runs stand for."""
    changes = "--num-steps 30 --candidates 1 --select-replicates 1 --confirm-replicates 2"
    STUDY.run(config_of("shape_search_checkpointed", changes), tmp_path)
    row = journal_rows(tmp_path)["confirm", "constant", 0, 30, 1]
    workload = load("digits")
    begun = jax.jit(lambda init, data: (workload.init(init), workload.indices(data, 64, 30)))
    start, batches = begun(*keys_of(0, "confirm", 1))
    weights, structure = jax.tree.flatten(start)
    weights = [np.asarray(leaf, np.float64) for leaf in weights]
    first, second = ([np.zeros_like(leaf) for leaf in weights] for _ in range(2))
    gradient = jax.jit(
        jax.grad(
            lambda leaves, indices: workload.loss(
                structure.unflatten(leaves), workload.batch(workload.data, indices), None
            )
        )
    )
    rates = row["base_lr"] * constant_with_warmup(row["params"]["warmup"], 30)
    for t, (rate, indices) in enumerate(zip(rates, np.asarray(batches), strict=True), start=1):
        gradients = gradient([np.float32(leaf) for leaf in weights], indices)
        for k, g in enumerate(np.asarray(leaf, np.float64) for leaf in gradients):
            first[k] = 0.9 * first[k] + 0.1 * g
            second[k] = 0.999 * second[k] + 0.001 * g**2
            unbiased = first[k] / (1 - 0.9**t), second[k] / (1 - 0.999**t)
            weights[k] = weights[k] - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    names = [
        "/".join(str(part.key) for part in path)
        for path, _ in jax.tree.leaves_with_path(structure.unflatten(weights))
    ]
    named = dict(zip(names, weights, strict=True))
    hidden = (named["params/Dense_0/kernel"], named["params/Dense_0/bias"])
    head = (named["params/head/kernel"], named["params/head/bias"])
    for split in ("train", "test"):
        images = np.asarray(getattr(workload.data, f"{split}_images"), np.float64)
        labels = np.asarray(getattr(workload.data, f"{split}_labels"))
        x = np.maximum(images.reshape(len(images), -1) @ hidden[0] + hidden[1], 0)
        logits = x @ head[0] + head[1]
        assert row["metrics"][f"{split}_loss"] == pytest.approx(cross_entropy(logits, labels), rel=2e-3)
        error = np.mean(logits.argmax(axis=1) != labels)
        assert row["metrics"][f"{split}_error"] == pytest.approx(error, abs=4 / len(labels))
    assert row["score"] == row["metrics"]["train_loss"] < np.log(10) / 2
