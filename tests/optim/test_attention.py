"""QK-clip: heads with large logits end at the threshold, all else as without it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import qk_clip
from workloads.transformer import Transformer, max_logits

THRESHOLD, HEADS, DIM, WIDTH = 2.0, 2, 3, 6
LARGEST = np.array([8.0, 1.0])  # γ = ¼ and 1
ROOTS = np.array([0.5, 1.0])


def leaf(shape, seed):
    return np.float32(np.random.default_rng(seed).normal(size=shape))


LAYERS = {
    "query": {"kernel": leaf((WIDTH, HEADS, DIM), 0), "bias": leaf((HEADS, DIM), 1)},
    "k_proj": {"kernel": leaf((WIDTH, HEADS * DIM), 2)},
    "value": {"kernel": leaf((WIDTH, HEADS, DIM), 3)},
    "out": {"kernel": leaf((HEADS, DIM, WIDTH), 4)},
}


@jax.jit
def clipped(params, logits):
    tx = optax.chain(optax.sgd(0.1), qk_clip(THRESHOLD))
    gradients = jax.tree.map(jnp.ones_like, params)
    stepped, _ = tx.update(gradients, tx.init(params), params, max_logits=logits)
    return optax.apply_updates(params, stepped)


def test_queries_and_keys_of_such_heads_shrink_after_the_step():
    params = {"block": {"attention": LAYERS, "up": {"kernel": leaf((WIDTH, 4), 5)}}}
    found = clipped(params, {"block": {"attention": {"largest": LARGEST}}})
    expected = jax.tree.map(lambda w: w - np.float32(0.1), params)
    attention = expected["block"]["attention"]
    for head in range(HEADS):
        attention["query"]["kernel"][:, head] *= ROOTS[head]
        attention["query"]["bias"][head] *= ROOTS[head]
        attention["k_proj"]["kernel"][:, head * DIM : (head + 1) * DIM] *= ROOTS[head]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), found, expected)


def test_the_transformers_logits_end_at_the_threshold():
    model = Transformer(num_tokens=5, context=4, width=8, layers=1, heads=2)
    ids = jnp.array([[0, 3, 1, 4], [2, 2, 0, 1]])
    variables = jax.jit(model.init)(jax.random.key(0), ids)
    assert set(variables) == {"params"}
    params = jax.tree.map(lambda w: 4 * np.asarray(w), variables["params"])

    @jax.jit
    def largest(params):
        _, state = model.apply({"params": params}, ids, mutable="intermediates")
        return state["intermediates"]

    logits_of_both = largest(params)
    (logits,) = jax.tree.leaves(logits_of_both)
    tx = qk_clip(float(np.min(logits)) / 2)

    @jax.jit
    def stepped(params, logits):
        zeros = jax.tree.map(jnp.zeros_like, params)
        updates, _ = tx.update(zeros, tx.init(params), params, max_logits=logits)
        return optax.apply_updates(params, updates)

    (clipped,) = jax.tree.leaves(largest(stepped(params, logits_of_both)))
    np.testing.assert_allclose(clipped, np.full(2, np.min(logits) / 2), rtol=1e-4)


def test_the_largest_logits_are_those_of_the_past():
    qkv = np.random.default_rng(1).normal(size=(2, 3, 12))
    q, k, _ = np.split(qkv, 3, axis=-1)
    for head, found in enumerate(np.asarray(max_logits(jnp.asarray(qkv), 2))):
        channels = slice(2 * head, 2 * head + 2)
        expected = max(
            q[b, t, channels] @ k[b, s, channels] / np.sqrt(2)
            for b in range(2)
            for t in range(3)
            for s in range(t + 1)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="threshold must be positive"):
        qk_clip(0.0)
    with pytest.raises(ValueError, match="needs params and max_logits"):
        qk_clip().update(LAYERS, optax.EmptyState(), LAYERS)
    with pytest.raises(ValueError, match="beside elsewhere/largest there is no layer"):
        clipped({"attention": LAYERS}, {"elsewhere": {"largest": LARGEST}})
    with pytest.raises(ValueError, match=r"^attention/.*4 heads do not divide"):
        clipped({"attention": LAYERS}, {"attention": {"largest": np.ones(4)}})
