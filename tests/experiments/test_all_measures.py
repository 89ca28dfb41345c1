"""All measures in their small form: networks by a plain loop in NumPy, rankings by SciPy on the journal."""

import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import special, stats

import workloads
from experiments import generalization
from experiments.generalization.all_measures.config import architectures, trials
from tests.experiments.journals import runs_of
from tests.experiments.test_generalization import backward, layers, named
from workloads.datasets.all_digits import spoilt_digits
from workloads.images import MLP

WIDTH, TRAIN, BATCH, TARGET, MOST, EVERY, REPLICATES, IMAGES = 4, 16, 8, 1.0, 200, 20, 3, 1797

pytestmark = pytest.mark.xdist_group("generalization_all_measures")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("generalization_all_measures").folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "winners.json").read_text())


@pytest.fixture(scope="module")
def networks(folder):
    return runs_of(folder)


def losses(params, images, labels):
    logits = layers(params, images)[1]
    return special.logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]


def trained(key, images, labels, rate, decay):
    """SGD with momentum and decay in NumPy, until the training loss is at the target."""
    init, order, *_ = jax.random.split(key, len(workloads.RunKeys._fields))
    start = jax.jit(MLP(num_classes=10, hidden=(WIDTH,)).init)(init, jnp.zeros((1, 4, 4, 1)))
    vector, unravel = ravel_pytree(start["params"])
    vector, velocity = np.asarray(vector, np.float64), 0.0
    batches = np.asarray(
        jax.jit(workloads.epoch_indices, static_argnums=(1, 2, 3))(order, TRAIN, BATCH, MOST)
    )

    def tree():
        return jax.tree.map(lambda x: np.asarray(x, np.float64), unravel(jnp.asarray(vector, jnp.float32)))

    for step in range(0, MOST, EVERY):
        if losses(tree(), images, labels).mean() <= TARGET:
            return tree(), step
        for rows in batches[step : step + EVERY]:
            p = special.softmax(layers(tree(), images[rows])[1], axis=1)
            gradient = backward(tree(), images[rows], p - np.eye(10)[labels[rows]]).mean(axis=0)
            velocity = 0.9 * velocity + gradient
            vector = vector - rate * velocity - decay * vector
    return tree(), MOST


@pytest.mark.parametrize(("place", "decay", "replicate"), [(1, 0.001, 1), (0, 0.0, 2)])
def test_a_network_is_a_plain_training_loop_to_the_target(networks, place, decay, replicate):
    (run,) = [
        run
        for run in networks
        if (run["group"], run["number"], run["label"]["decay"], run["replicate"])
        == ("momentum/4×1/8", place, decay, replicate)
    ]
    copies = spoilt_digits()
    pooled = copies.images.reshape(21, IMAGES, 4, 2, 4, 2).mean(axis=(3, 5)).reshape(21, IMAGES, 16)
    own = (replicate * IMAGES // REPLICATES + np.arange(IMAGES)) % IMAGES
    train, test = own[:TRAIN], own[TRAIN:]
    key = jax.random.fold_in(named(jax.random.key(0), "measure", replicate), 0)
    params, steps = trained(
        key, pooled[0, train].astype(np.float64), copies.labels[train], run["base_lr"], decay
    )
    assert run["metrics"]["steps"] == steps
    expected = losses(params, pooled[0, train], copies.labels[train]).mean()
    assert run["metrics"]["train_loss"] == pytest.approx(expected, rel=1e-3)
    logits = layers(params, pooled[0, train])[1]
    confidence = special.softmax(logits, axis=1).max(axis=1).mean()
    assert run["metrics"]["confidence"] == pytest.approx(confidence, rel=1e-3)
    for environment, chosen in (("as trained", [0]), ("shifted", range(1, 21))):
        wrong = sum(
            np.sum(layers(params, pooled[k, test])[1].argmax(axis=1) != copies.labels[test]) for k in chosen
        )
        told = sum(value for name, value in run["metrics"].items() if name.startswith(f"wrong {environment}"))
        assert told == pytest.approx(wrong, abs=0.001 * len(test) * len(chosen))


def reached(networks):
    return [run for run in networks if run["metrics"]["train_loss"] <= TARGET]


def errors(run, environment, copies):
    wrong = [value for name, value in run["metrics"].items() if name.startswith(f"wrong {environment}")]
    return sum(wrong) / copies / (IMAGES - TRAIN)


@pytest.mark.parametrize(
    ("environment", "prefix", "copies"), [("as trained", "", 1), ("shifted", "shifted_", 20)]
)
def test_the_rankings_are_scipys_over_the_networks_that_reached_the_target(
    networks, content, environment, prefix, copies
):
    ranked = reached(networks)
    assert content["networks"] == len(ranked) < len(networks) == 3 * 2 * REPLICATES * 2
    target = np.array([errors(run, environment, copies) for run in ranked])
    for row in content["measures"]:
        found = [run["metrics"][row["measure"]] for run in ranked]
        values = np.array([1e9 if value is None else row["sign"] * value for value in found])  # infinite ones
        pairs = [
            np.sign((values[i] - values[j]) * (target[i] - target[j]))
            for i, j in itertools.combinations(range(len(ranked)), 2)
        ]
        assert row[f"{prefix}tau"]["value"] == pytest.approx(np.mean(pairs))
        if len(set(values)) == len(values) and len(set(target)) == len(target):
            assert np.mean(pairs) == pytest.approx(stats.kendalltau(values, target).statistic)
        best = target[values == values.min()].mean()
        regret = (best - target.min()) / (target.max() - target.min())
        assert row[f"{prefix}regret"]["value"] == pytest.approx(regret)


def test_the_planned_networks_are_those_made():
    config = generalization.AllMeasures(depths=(1, 2), rates=2, decays=(0.0, 0.1), replicates=3)
    assert config.planned_runs == sum(len(trials(kind, config)) for kind in architectures(config)) == 16 * 12
