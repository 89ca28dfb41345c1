"""Low-rank descent under optax's reduce_on_plateau, on optax's own target of a vector and a matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import reduce_on_plateau

from optim import dion, orth_dion

TARGET = {"vector": np.float32([1, -1, 2]), "matrix": np.float32([[1, 0], [-1, 1]])}


def loss(params):
    return sum(
        jnp.sum((w - t) ** 2) for w, t in zip(jax.tree.leaves(params), jax.tree.leaves(TARGET), strict=True)
    )


@pytest.mark.parametrize(
    "make", [dion, orth_dion, functools.partial(orth_dion, right="polar")], ids=["dion", "qr", "polar"]
)
def test_it_converges_where_the_patience_covers_the_swings_of_its_momentum(make):
    tx = optax.chain(make(0.01), reduce_on_plateau(patience=50))

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = tx.update(gradient, state, params, value=value)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, tx.init(params)), length=3000)[0][0]

    params = train(jax.tree.map(np.zeros_like, TARGET))
    for leaf, target in TARGET.items():  # as near as optax asks of its own
        assert np.abs(params[leaf] - target).max() < 0.03
