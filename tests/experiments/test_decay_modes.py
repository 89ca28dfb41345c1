"""The two modes of weight decay that searches train with: one parameter without gradient only decays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import workloads
from experiments.shape_search import Config

RATES = np.array([0.0, 0.5, 1.0, 0.25], np.float32)
DECAY = 0.125
FLAT = workloads.Workload(
    data=jnp.zeros(4),
    init=lambda key: {"w": jnp.full(3, 2.0)},
    indices=lambda key, batch_size, num_steps: jnp.zeros((num_steps, batch_size), int),
    batch=lambda data, indices: data[indices],
    loss=lambda params, batch, key: 0 * jnp.sum(params["w"]),
    evaluate=lambda params, data: {"train_loss": jnp.sum(params["w"])},
)


@pytest.mark.parametrize("optimizer", ["adamw", "momentum", "signum", "lion"])
@pytest.mark.parametrize(
    ("mode", "kept"), [("scaled", np.prod(1 - DECAY * RATES)), ("independent", (1 - DECAY) ** len(RATES))]
)
def test_a_parameter_without_gradient_decays_by_the_closed_form(optimizer, mode, kept):
    config = Config(optimizer=optimizer, weight_decay=DECAY, decay_mode=mode)
    run = workloads.train(
        FLAT,
        FLAT.data,
        config.transformation,
        jnp.asarray(RATES),
        workloads.run_keys(jax.random.key(0)),
        batch_size=2,
    )
    np.testing.assert_allclose(run.params["w"], np.full(3, 2.0 * kept), rtol=8 * np.finfo(np.float32).eps)
