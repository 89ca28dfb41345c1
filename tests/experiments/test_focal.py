"""The study of calibration: its losses against NumPy, and what it tells from the journal."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special, stats

from experiments.focal.objectives import (
    LOG_WEIGHTS,
    NETWORK,
    OBJECTIVES,
    beside_weights,
    focal_mean,
    group_dro_workload,
)
from experiments.study.training.cross_validation import Split
from tests.experiments.journals import runs_of
from workloads.images import MLP

pytestmark = pytest.mark.xdist_group("focal")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("focal").folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "winners.json").read_text())


@pytest.fixture(scope="module")
def batch():
    """Logits and labels of two environments."""
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32), jnp.asarray(rng.integers(3, size=(2, 6)))


def losses(logits, labels):
    """The cross-entropy of every example."""
    chosen = np.take_along_axis(np.asarray(logits, np.float64), np.asarray(labels)[..., None], -1)[..., 0]
    return special.logsumexp(np.asarray(logits, np.float64), axis=-1) - chosen


def test_the_losses_are_numpys(batch):
    every = losses(*batch)
    risks, p = every.mean(axis=1), np.exp(-every)
    names = ("erm", "vrex", "irm", "ib_irm")
    told = jax.jit(lambda *batch: {name: OBJECTIVES[name](7.0)(*batch) for name in names})(*batch)
    focal = jax.jit(focal_mean(2.0))(*batch)
    assert focal == pytest.approx(np.mean((1 - p) ** 2 * every), rel=1e-5)
    assert told["erm"] == pytest.approx(risks.mean(), rel=1e-5)
    assert told["vrex"] == pytest.approx(risks.mean() + 7 * risks.var(), rel=1e-5)
    spread = 0.1 * np.mean(np.var(np.asarray(batch[0], np.float64), axis=1))
    assert told["ib_irm"] == pytest.approx(float(told["irm"]) + spread, rel=1e-5)


def test_group_dro_multiplies_its_weights_and_descends_on_the_weighted_risk():
    rng, step, rate = np.random.default_rng(1), 0.5, 0.1
    images = jnp.asarray(rng.normal(size=(2, 5, 1, 2, 1)), jnp.float32)
    labels = jnp.asarray(rng.integers(2, size=(2, 5)))
    split = Split(images, labels, images[0], labels[0], images, labels[0], jax.random.key(0))
    model = MLP(2, ())  # one layer: its gradient is known
    workload = group_dro_workload(step, split, model)
    transformation = beside_weights(optax.sgd)(lambda count: rate)
    params = jax.jit(workload.init)(jax.random.key(1))
    head = params[NETWORK]["params"]["head"]
    kernel, bias = (np.asarray(head[name], np.float64) for name in ("kernel", "bias"))
    x, q, state = (
        np.asarray(images, np.float64).reshape(2, 5, 2),
        np.full(2, 0.5),
        jax.jit(transformation.init)(params),
    )

    @jax.jit
    def advanced(params, state):
        gradients = jax.grad(workload.loss)(params, (images, labels), None)
        updates, state = transformation.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(4):
        params, state = advanced(params, state)
        logits = x @ kernel + bias
        q = q * np.exp(step * losses(logits, labels).mean(axis=1))
        q = q / q.sum()
        residuals = q[:, None, None] * (special.softmax(logits, axis=-1) - np.eye(2)[labels]) / 5
        kernel = kernel - rate * np.einsum("eni,enj->ij", x, residuals)
        bias = bias - rate * residuals.sum(axis=(0, 1))
    assert special.softmax(np.asarray(params[LOG_WEIGHTS])) == pytest.approx(q, rel=1e-4)
    assert np.asarray(params[NETWORK]["params"]["head"]["kernel"]) == pytest.approx(kernel, rel=1e-4)


def test_the_sharpness_of_the_cross_entropy_is_that_of_the_focal_loss_at_zero(folder):
    confirmed = [run for run in runs_of(folder) if run["stage"] == "confirm" and "gamma" in run["params"]]
    for run in confirmed:
        own = [run["metrics"][name] for name in ("λ_max", "trace")]
        others = [run["metrics"][f"{name} of cross-entropy"] for name in ("λ_max", "trace")]
        assert (own == pytest.approx(others, rel=1e-4)) == (run["params"]["gamma"] == 0)
    assert {run["params"]["gamma"] for run in confirmed} == {0, 2}


def test_the_rank_correlations_are_scipys_on_the_journal(folder, content):
    confirmed = [run for run in runs_of(folder) if run["stage"] == "confirm" and "gamma" in run["params"]]
    gammas = [run["params"]["gamma"] for run in confirmed]
    ece = [run["metrics"]["ece as they are"] for run in confirmed]
    told = {(claim["statement"], claim["subject"]): claim["effect"]["value"] for claim in content["claims"]}
    for name in ("λ_max", "trace", "λ_max of cross-entropy", "trace of cross-entropy"):
        values = [run["metrics"][name] for run in confirmed]
        for words, ranked in (("γ", gammas), ("ECE", ece)):
            expected = stats.spearmanr(values, ranked).statistic
            assert told[f"rank correlation with {words}", name] == pytest.approx(expected)


def test_calibration_is_the_median_over_runs(folder, content):
    runs = [run for run in runs_of(folder) if (run["stage"], run["group"]) == ("confirm", "group_dro 0.1")]
    (row,) = [row for row in content["calibration"] if row["loss"] == "group_dro 0.1"]
    flips = ("flip 0.1", "flip 0.2", "flip 0.9")
    ece = np.array([[run["metrics"][f"ece {flip}"] for flip in flips] for run in runs])
    assert [row[flip] for flip in flips] == pytest.approx(np.median(ece, axis=0))
    assert row["worst_ece"]["value"] == pytest.approx(np.median(ece.max(axis=1)))
