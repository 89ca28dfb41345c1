"""Addition modulo p: its pairs, its network by plain sums, and its losses where float32 has no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads import contract_problems
from workloads.modular_addition import LOSSES, modular_addition

P = 7


def test_every_pair_is_for_training_or_for_testing_with_its_sum():
    data = modular_addition(modulus=P, train_share=0.4, split_seed=3).data
    assert len(data.train_pairs) == int(0.4 * P * P)
    pairs = np.concatenate([data.train_pairs, data.test_pairs])
    assert sorted(map(tuple, pairs.tolist())) == [(a, b) for a in range(P) for b in range(P)]
    labels = np.concatenate([data.train_labels, data.test_labels])
    np.testing.assert_array_equal(labels, (pairs[:, 0] + pairs[:, 1]) % P)
    other = modular_addition(modulus=P, train_share=0.4, split_seed=4).data
    assert not np.array_equal(other.train_pairs, data.train_pairs)


def test_the_network_the_loss_and_the_metrics_are_the_formulas():
    workload = modular_addition(modulus=P, width=6)
    params = jax.jit(workload.init)(jax.random.key(0))
    assert contract_problems(workload, 5) == []
    weights = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    embed, dense, head = (weights[name] for name in ("embed", "Dense_0", "head"))

    def logits(pairs):
        rows = embed["kernel"][np.asarray(pairs)].reshape(len(pairs), -1)
        return (rows @ dense["kernel"] + dense["bias"]) ** 2 @ head["kernel"] + head["bias"]

    def cross_entropy(pairs, labels):
        scores = logits(pairs)
        return np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(labels)), labels])

    rows, data = np.array([3, 0, 11, 4]), jax.tree.map(np.asarray, workload.data)
    batch = workload.batch(data, rows)
    found = float(jax.jit(workload.loss)(params, batch, jax.random.key(1)))
    assert found == pytest.approx(cross_entropy(data.train_pairs[rows], data.train_labels[rows]), rel=1e-5)
    metrics = jax.jit(workload.evaluate)(params, data)
    for split, pairs, labels in (("train", *data[:2]), ("test", *data[2:])):
        assert float(metrics[f"{split}_loss"]) == pytest.approx(cross_entropy(pairs, labels), rel=1e-5)
        errors = np.mean(np.argmax(logits(pairs), axis=1) != labels)
        assert float(metrics[f"{split}_error"]) == pytest.approx(errors)


def test_a_lead_of_twenty_has_a_gradient_in_float64_alone():
    """That of the label's logit, -Σ e^-lead over the others: nothing in float32 from a lead of 16.6."""
    lead, labels = 20.0, jnp.array([0])

    def slope(dtype):
        logits = jnp.array([[lead, 0.0, 0.0]], dtype)
        return float(jax.jit(jax.grad(lambda x: LOSSES["softmax"](x, labels)[0]))(logits)[0, 0])

    with jax.enable_x64(True):
        assert slope(jnp.float32) == 0
        assert slope(jnp.float64) == pytest.approx(-2 * np.exp(-lead), rel=1e-6)


def test_losses_in_float64_need_it_and_leave_the_network_in_float32():
    workload = modular_addition(modulus=P, width=4, loss="stablemax", loss_precision="float64")
    batch = workload.batch(workload.data, jnp.arange(4))
    params = jax.eval_shape(workload.init, jax.random.key(0))
    with pytest.raises(ValueError, match=r"needs jax.enable_x64"):
        jax.eval_shape(workload.loss, params, batch, jax.random.key(0))
    with jax.enable_x64(True):
        params = jax.eval_shape(workload.init, jax.random.key(0))
        loss, gradients = jax.eval_shape(jax.value_and_grad(workload.loss), params, batch, jax.random.key(0))
    assert loss.dtype == jnp.float64
    assert {leaf.dtype for leaf in jax.tree.leaves((params, gradients))} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modulus": 1}, r"modulus must be in \[2, 1000\], got 1"),
        ({"width": 1}, r"width must be in \[2, 10000\], got 1"),
        ({"split_seed": -1}, "split_seed must be in"),
        ({"train_share": 0.0}, "train_share must leave pairs for both, got 0.0"),
        ({"train_share": 1.0}, "train_share must leave pairs for both, got 1.0"),
        ({"loss": "hinge"}, r"loss must be one of .*stablemax.*got 'hinge'"),
        ({"loss_precision": "half"}, "loss_precision must be one of .*got 'half'"),
    ],
)
def test_options_of_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        modular_addition(**options)
