"""The memory that is planned for a sweep, against what a process of its own takes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.throughput.memory import Setting, measure_apart
from workloads import AtOnce, Workload, load, run_keys, run_mesh, trainer
from workloads.memory import sweep_memory


def test_a_sweep_takes_what_is_planned_for_it_within_a_fifth():
    setting = Setting("digits", functools.partial(load, "digits", model="cnn"), 64, vectorize=4)
    # on one device: on several that share busy cores, not all are at their peak together
    measured = measure_apart(setting, num_devices=1)
    assert measured.peak > 50_000_000  # far above what a process takes and gives back beside
    assert measured.planned == pytest.approx(measured.peak, rel=0.2)


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
