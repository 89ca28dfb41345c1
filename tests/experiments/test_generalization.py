"""A small study of generalisation: its measurements by a plain loop in NumPy, its correlations by SciPy."""

import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import special, stats

import workloads
from workloads.images import MLP

WIDTH, STEPS, BATCH, LARGEST, VALIDATION, DAMPING = 3, 64, 16, 64, 40, 0.01
RUNS = 3 * 2 * 2 + 2 * 3 * 3

pytestmark = pytest.mark.xdist_group("generalization")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("generalization").folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "winners.json").read_text())


def named(key, *names):
    for name in names:
        key = jax.random.fold_in(key, name if isinstance(name, int) else zlib.crc32(name.encode()))
    return key


def examples(key, train_size):
    """Inputs and labels of the three parts, and the label noise: from scikit-learn's digits, by NumPy."""
    data = workloads.load("digits").data
    images, test = (
        np.asarray(x).reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16).astype(np.float64)
        for x in (data.train_images, data.test_images)
    )
    order_key, noise_key = jax.random.split(named(key, "split"))
    order = np.asarray(jax.random.permutation(order_key, len(images)))
    train, validation = order[:train_size], order[-VALIDATION:]
    noise = np.asarray(jax.random.gumbel(noise_key, (LARGEST, 10)))[:train_size]
    labels = np.asarray(data.train_labels)
    parts = {
        "train": (images[train], labels[train]),
        "validation": (images[validation], labels[validation]),
        "test": (test, np.asarray(data.test_labels)),
    }
    return parts, noise


def layers(params, x):
    hidden = x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    return hidden, np.maximum(hidden, 0) @ params["head"]["kernel"] + params["head"]["bias"]


def backward(params, x, of_logits):
    """Every sample's gradient, raveled in the order of the tree, from those of its logits."""
    hidden, _ = layers(params, x)
    of_hidden = (of_logits @ params["head"]["kernel"].T) * (hidden > 0)
    products = (
        of_hidden,
        x[:, :, None] * of_hidden[:, None],
        of_logits,
        np.maximum(hidden, 0)[:, :, None] * of_logits[:, None],
    )
    return np.concatenate([product.reshape(len(x), -1) for product in products], axis=1)


def trained_by_a_plain_loop(key, images, labels, rate):
    """Gradient descent in NumPy, over epochs of the training examples repeated to fill LARGEST places."""
    init, data, *_ = jax.random.split(named(key, "run"), 4)
    start = jax.jit(MLP(num_classes=10, hidden=(WIDTH,)).init)(init, jnp.zeros((1, 4, 4, 1)))
    vector, unravel = ravel_pytree(start["params"])
    batches = jax.jit(workloads.epoch_indices, static_argnums=(1, 2, 3))(data, LARGEST, BATCH, STEPS)
    vector = np.asarray(vector, np.float64)
    for rows in np.asarray(batches) % len(images):
        params = jax.tree.map(np.asarray, unravel(jnp.asarray(vector, jnp.float32)))
        p = special.softmax(layers(params, images[rows])[1], axis=1)
        vector -= rate * backward(params, images[rows], p - np.eye(10)[labels[rows]]).mean(axis=0)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), unravel(jnp.asarray(vector, jnp.float32)))


def numpy_criteria(params, images, labels, noise):
    """The criteria, with the full Gauss–Newton or the sampled Fisher matrix, and the controls."""
    logits = layers(params, images)[1]
    p = special.softmax(logits, axis=1)
    classes = [np.broadcast_to(unit, logits.shape) for unit in np.eye(10)]
    jacobian = np.stack([backward(params, images, unit) for unit in classes], axis=1)
    curved = np.stack([np.diag(row) - np.outer(row, row) for row in p])
    h = np.einsum("nki,nkl,nlj->ij", jacobian, curved, jacobian, optimize=True) / len(images)
    gradients, sampled = (
        backward(params, images, p - np.eye(10)[chosen])
        for chosen in (labels, np.argmax(logits + noise, axis=1))
    )
    c = gradients.T @ gradients / len(images)
    blocks = np.split(np.arange(len(h)), np.cumsum([WIDTH, 16 * WIDTH, 10]))
    damped = h + DAMPING * np.eye(len(h))
    fisher = np.mean(sampled**2, axis=0)
    return {
        "takeuchi_exact": np.trace(np.linalg.solve(damped, c)),
        "takeuchi_blocks": sum(
            np.trace(np.linalg.solve(damped[np.ix_(b, b)], c[np.ix_(b, b)])) for b in blocks
        ),
        "takeuchi_diagonal": np.sum(np.diag(c) / (fisher + DAMPING)),
        "takeuchi_trace_ratio": np.trace(c) / (fisher.sum() + DAMPING),
        "trace_c": np.trace(c),
        "trace_h": fisher.sum(),
        "gradient_norm": np.linalg.norm(gradients.mean(axis=0)),
        "parameter_norm": np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(params))),
    }


@pytest.mark.parametrize("train_size", [32, LARGEST])
def test_a_run_is_a_plain_training_loop_and_its_measurements_are_numpys(folder, journal_rows, train_size):
    row = journal_rows(folder)["measure", f"sgd/{WIDTH}", 1, json.dumps({"train_size": train_size}), 1]
    assert row["base_lr"] == pytest.approx(0.9)
    key = named(jax.random.key(0), "measure", 1)
    parts, noise = examples(key, train_size)
    params = trained_by_a_plain_loop(key, *parts["train"], row["base_lr"])
    expected = numpy_criteria(params, *parts["train"], noise)
    for part, (images, labels) in parts.items():
        logits = layers(params, images)[1]
        losses = special.logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
        expected[f"{part}_loss"] = losses.mean()
        expected[f"{part}_error"] = np.mean(np.argmax(logits, axis=1) != labels)
    for name, value in expected.items():
        assert row["metrics"][f"{name}@{STEPS}"] == pytest.approx(value, rel=3e-4), name
    assert row["score"] == row["metrics"][f"test_loss@{STEPS}"]


def test_the_correlations_are_scipys_on_the_journal(folder, content, journal_rows):
    rows = journal_rows(folder)
    assert len(rows) == RUNS
    measured = [row for i, row in rows.items() if i[0] == "measure"]
    sizes = np.array([row["params"]["train_size"] for row in measured])
    end = {
        name: np.array([row["metrics"][f"{name}@{STEPS}"] for row in measured])
        for name in ("test_loss", "train_loss")
    }
    gaps = end["test_loss"] - end["train_loss"]
    by_name = {entry["predictor"]: entry for entry in content["predictors"]}
    for name in ("takeuchi_exact", "takeuchi_blocks", "takeuchi_diagonal", "takeuchi_trace_ratio"):
        predicted = np.array([row["metrics"][f"{name}@{STEPS}"] for row in measured]) / sizes
        ranks = [stats.spearmanr(predicted[sizes == n], gaps[sizes == n]).statistic for n in (32, LARGEST)]
        entry = by_name[f"{name} / n"]
        assert entry["rank_correlation"]["value"] == pytest.approx(stats.spearmanr(predicted, gaps).statistic)
        assert entry["rank_correlation_at_equal_size"]["value"] == pytest.approx(np.mean(ranks))
        by_size = [entry["rank_correlation_by_size"][str(n)]["value"] for n in (32, LARGEST)]
        assert by_size == pytest.approx(ranks)
    assert by_name["1 / n"]["rank_correlation_at_equal_size"]["value"] == 0


def test_every_claim_is_made(content):
    assert len(content["claims"]) == 4 + 1 + 2 + 3 * 2
