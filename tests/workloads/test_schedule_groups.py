"""Two groups of parameters with a schedule each, against a plain loop of two optimizers with their own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.workloads.test_training import KEYS, STEPS, TINY, batches_of, train_tiny

FIRST = optax.warmup_cosine_decay_schedule(0.0, 0.5, 2, STEPS)
LAST = optax.linear_schedule(0.03, 0.01, STEPS)
TABLES = jnp.stack([FIRST(jnp.arange(STEPS)), LAST(jnp.arange(STEPS))])


def momentum_and_adam(first, last):
    return optax.partition(
        {"first": optax.sgd(first, momentum=0.9), "last": optax.adam(last)},
        {"first": "first", "last": "last"},
    )


def test_each_group_follows_its_own_row_of_the_table():
    params = jax.jit(TINY.init)(KEYS.init)
    optimizers = {"first": optax.sgd(FIRST, momentum=0.9), "last": optax.adam(LAST)}
    states = {name: optimizer.init(params[name]) for name, optimizer in optimizers.items()}

    @jax.jit
    def step(params, states, batch):
        gradients = jax.grad(TINY.loss)(params, batch, KEYS.loss)
        for name, optimizer in optimizers.items():
            updates, states[name] = optimizer.update(gradients[name], states[name])
            params[name] += updates
        return params, states

    for batch in batches_of(TINY, 8, STEPS):
        params, states = step(params, states, batch)
    run = train_tiny(learning_rates=TABLES, optimizer=momentum_and_adam)
    for name, expected in params.items():
        np.testing.assert_allclose(run.params[name], expected, rtol=2e-5, atol=1e-6)


def test_a_table_of_more_axes_is_refused():
    with pytest.raises(ValueError, match=r"shape \(steps,\) or \(groups, steps\), got \(1, 2, 7\)"):
        train_tiny(learning_rates=TABLES[None])
