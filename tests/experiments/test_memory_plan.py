"""The memory that is planned for a sweep, against the plan of its runs alone and against arithmetic."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import AtOnce, Workload, load, run_keys, run_mesh, train, trainer
from workloads.memory import sweep_memory

METRICS = ("train_loss", "train_error", "test_loss", "test_error")


def test_a_sweep_takes_what_its_runs_side_by_side_take_within_a_fifth():
    """By the compiler's word; what a process then takes, `throughput --subjects memory` measures."""
    workload, width = load("digits"), 4
    rates, keys = np.full((width, 5), 1e-3, np.float32), jax.random.split(jax.random.key(0), width)

    def run(row, data):
        return train(workload, data, optax.adam, row[0], run_keys(row[1]), batch_size=64).metrics

    planned = sweep_memory(AtOnce(run), (rates, keys), workload.data, mesh=run_mesh(1), vectorize=width)
    compiled = jax.jit(jax.vmap(run, in_axes=(0, None))).lower((rates, keys), workload.data).compile()
    needed = compiled.memory_analysis()
    # there is room for two groups of rows, and the number of groups to compute
    assert planned.data + planned.rows == needed.argument_size_in_bytes + rates.nbytes + keys.nbytes + 4
    assert planned.results == needed.output_size_in_bytes + width * 4 * len(METRICS)
    assert planned.work == pytest.approx(needed.temp_size_in_bytes, rel=0.2)


def test_a_run_updates_its_weights_and_moments_in_place():
    """What is alive at the peak of a step of Adam: weights, two moments and the gradient, each once."""
    width = 512
    size = 4 * width**2

    def loss(weights, batch, key):
        return jnp.mean(jnp.tanh(batch @ weights) ** 2)

    workload = Workload(
        data=jnp.ones((16, width)),
        init=lambda key: jnp.zeros((width, width)),
        indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), int),
        batch=lambda data, indices: data[indices],
        loss=loss,
        evaluate=lambda weights, data: {"loss": loss(weights, data, None)},
    )

    def stages(rates, data):
        trained = trainer(workload, data, optax.adam, rates, run_keys(jax.random.key(0)), batch_size=4)
        return trained._replace(finish=lambda run: trained.finish(run).metrics)

    def at_once(rates, data):
        return stages(rates, data).whole(3)

    for computed, held in ((stages, 3), (AtOnce(at_once), 0)):
        memory = sweep_memory(computed, np.ones((1, 3), np.float32), workload.data, mesh=run_mesh(1))
        assert held * size <= memory.states < held * size + 100  # with a few numbers beside the arrays
        assert 4 * size <= memory.states + memory.work < 4.2 * size
