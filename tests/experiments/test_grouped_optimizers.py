"""Optimizers with a schedule for matrices and one for all else, against two optimizers with one each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim
from experiments.study.training.optimizers import GROUPS, OPTIMIZERS

MATRICES, OTHERS = (optax.linear_schedule(start, 0.0, 4) for start in (0.1, 0.003))
PARAMS = {"kernel": jnp.array([[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]), "bias": jnp.array([1.0, -2.0, 0.5])}


def gradients_of(step):
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda leaf: np.asarray(rng.normal(size=leaf.shape), leaf.dtype), PARAMS)


def trained(optimizer, params=PARAMS, steps=3):
    def step(run, gradients):
        updates, state = optimizer.update({name: gradients[name] for name in run[0]}, *run[::-1])
        return (optax.apply_updates(run[0], updates), state), None

    gradients = jax.tree.map(lambda *rows: np.stack(rows), *map(gradients_of, range(steps)))
    return jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), gradients)[0][0])(
        params
    )


def test_the_groups_of_muon_are_muon_and_adam_with_decay_each_at_its_own_rates():
    found = trained(OPTIMIZERS["muon"].grouped.chain(0.1)(MATRICES, OTHERS))
    matrices = optax.chain(
        optim.scale_by_momentum(0.95, nesterov=True),
        optim.scale_by_polar(scale="rms"),
        optax.add_decayed_weights(0.1),
        optax.scale_by_learning_rate(MATRICES),
    )
    others = optax.adamw(OTHERS, weight_decay=0.1)
    for name, optimizer in (("kernel", matrices), ("bias", others)):
        expected = trained(optimizer, {name: PARAMS[name]})
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["optax_muon", "muon"])
def test_a_group_at_rate_0_stays_where_it_is_and_the_other_moves(name):
    zero = optax.constant_schedule(0.0)
    for schedules, moved in (((MATRICES, zero), "kernel"), ((zero, OTHERS), "bias")):
        found = trained(OPTIMIZERS[name].grouped.chain(0.0)(*schedules), steps=1)
        assert {part for part in PARAMS if not np.array_equal(found[part], PARAMS[part])} == {moved}


def test_methods_for_matrices_and_no_others_have_groups_and_take_a_schedule_for_each():
    grouped = {name: optimizer for name, optimizer in OPTIMIZERS.items() if optimizer.groups}
    muons = {"muon", "muon_cautious", "muonclip", "optax_muon"}
    assert set(grouped) == {*muons, "spectral_descent", "dion", "orth_dion"}
    for optimizer in grouped.values():
        assert optimizer.groups == GROUPS == ("matrices", "others")
        assert callable(optimizer.grouped.chain(0.1)(MATRICES, OTHERS).update)
