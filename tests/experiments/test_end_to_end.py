"""The command on its real default workload, digits: what it prints, writes, and trained."""

import contextlib
import io
import json
import zlib

import jax
import numpy as np
import pytest

from experiments.shape_search import main
from schedules import load_winner
from workloads import load

OPTIONS = (
    "--families constant --num-steps 30 --learning-rates 0.005 0.02 --candidates 1 --rung-replicates 1"
    " --top 1 --select-replicates 1 --confirm-replicates 2 --checked 0"
)


@pytest.fixture(scope="module")
def digits_study(tmp_path_factory, finished):
    folder = tmp_path_factory.mktemp("digits") / "study"
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main([*OPTIONS.split(), "--chunk-runs", "4", "--folder", str(folder)]) == 0
    return type(finished)(folder, output.getvalue())


def test_the_folder_holds_what_the_design_lists(digits_study):
    names = {entry.name for entry in digits_study.folder.iterdir()}
    seal = "journal.sqlite.sha256"
    assert names == {"config.json", "journal.sqlite", seal, "winners.json", "report.html", "figures"}


def test_the_winner_comes_back_from_disk(digits_study):
    content = json.loads((digits_study.folder / "winners.json").read_text())
    for entry in content["winners"]:
        winner = load_winner(digits_study.folder / "winners.json", entry["family"])
        assert (winner.family.name, winner.params, winner.base_lr) == (
            entry["family"],
            entry["params"],
            entry["base_lr"],
        )
        assert winner.num_steps == 30
    best = load_winner(digits_study.folder / "winners.json")
    assert best.family.name == content["winners"][0]["family"]


def keys_of(seed, stage, replicate):
    """(init, data) of a replicate: named after the stage and the replicate, and after nothing else."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(stage.encode()))
    return jax.random.split(jax.random.fold_in(key, replicate), 4)[:2]


def constant_with_warmup(warmup, num_steps):
    """min(1, x / warmup) at x = t/T."""
    return np.minimum(1, np.arange(num_steps) / num_steps / warmup)


def cross_entropy(logits, labels):
    largest = logits.max(axis=1, keepdims=True)
    logs = logits - largest - np.log(np.exp(logits - largest).sum(axis=1, keepdims=True))
    return -np.mean(logs[np.arange(len(labels)), labels])


def test_a_run_on_digits_is_adam_on_the_network_step_by_step(digits_study, journal_rows):
    """Forward passes in NumPy, Adam's formula in NumPy: the loop that the compiled runs stand for."""
    row = journal_rows(digits_study.folder)["confirm", "constant", 0, 30, 1]
    workload = load("digits")
    init, data = keys_of(0, "confirm", 1)
    weights, structure = jax.tree.flatten(workload.init(init))
    weights = [np.asarray(leaf, np.float64) for leaf in weights]
    first, second = ([np.zeros_like(leaf) for leaf in weights] for _ in range(2))
    gradient = jax.jit(
        jax.grad(lambda leaves, batch: workload.loss(structure.unflatten(leaves), batch, None))
    )
    rates = row["base_lr"] * constant_with_warmup(row["params"]["warmup"], 30)
    for t, (rate, indices) in enumerate(zip(rates, workload.indices(data, 64, 30), strict=True), start=1):
        batch = workload.batch(workload.data, indices)
        gradients = gradient([np.float32(leaf) for leaf in weights], batch)
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
