"""A run in stages: it goes on from its state as if it had never been left."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import load, run_keys, train, trainer

STEPS, BATCH = 9, 4
KEYS = run_keys(jax.random.key(5))
REGRESSION = load("linear_regression", dimension=6, exponent=0.5)
RATES = np.linspace(0.9, 0.1, STEPS, dtype=np.float32)
NOISY = REGRESSION._replace(
    loss=lambda params, batch, key: REGRESSION.loss(params, batch, key) * jax.random.uniform(key)
)


def measure(params, state, batch, gradients, key):
    return {"gradients": gradients, "state": state, "draw": jax.random.uniform(key)}


OPTIONS = {
    "batch_size": BATCH,
    "evaluate_at": (0, 2, 3, 7, STEPS),
    "parts": 2,
    "average_decay": 0.8,
    "probe": measure,
    "probe_every": 2,
}


def stages(rates, keys, data):
    return trainer(NOISY, data, optax.adam, rates, keys, **OPTIONS)


@jax.jit
def begun(*inputs):
    return stages(*inputs).begin()


@jax.jit
def advanced(run, start, until, *inputs):
    return stages(*inputs).advance(run, start, until)


@jax.jit
def finished(run, *inputs):
    return stages(*inputs).finish(run)


def run_cut_at(*cuts):
    """A run that goes through the host at every cut, with nothing of it kept elsewhere."""
    inputs = RATES, KEYS, REGRESSION.data
    run = begun(*inputs)
    for start, until in zip((0, *cuts), (*cuts, STEPS), strict=True):
        run = jax.tree.map(np.asarray, advanced(run, start, until, *inputs))
    return finished(run, *inputs)


@pytest.mark.bits
@pytest.mark.parametrize("cuts", [(0,), (1,), (4,), (STEPS,), (3, 3, 7), range(1, STEPS)])
def test_a_run_is_the_same_bit_for_bit_wherever_it_is_cut(cuts):
    jax.tree.map(np.testing.assert_array_equal, run_cut_at(*cuts), run_cut_at())


def test_stages_are_the_run_that_train_computes_at_once():
    whole = jax.jit(lambda rates, keys, data: train(NOISY, data, optax.adam, rates, keys, **OPTIONS))
    expected = whole(RATES, KEYS, REGRESSION.data)
    run = run_cut_at(2, 5)
    # two programs, whose last bits may differ
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), run, expected)
    assert len(set(run.losses.tolist())) == STEPS
    assert optax.tree_utils.tree_get_all_with_path(run.optimizer_state, "count")[0][1] == STEPS


def test_what_is_to_come_is_zero():
    run = advanced(begun(RATES, KEYS, REGRESSION.data), 0, 3, RATES, KEYS, REGRESSION.data)
    np.testing.assert_array_equal(run.losses != 0, np.arange(STEPS) < 3)
    np.testing.assert_array_equal(run.metrics["train_loss"] != 0, [True, True, False, False, False])
    np.testing.assert_array_equal(run.probes["draw"] != 0, [True, True, False, False, False])


def test_all_segments_are_one_program():
    run_cut_at(2)
    sizes = begun._cache_size(), advanced._cache_size(), finished._cache_size()
    run_cut_at(1, 5, 8)
    assert (begun._cache_size(), advanced._cache_size(), finished._cache_size()) == sizes


def decaying(schedule):
    """With a number and a key in its state, next to arrays."""
    factor = optax.GradientTransformation(
        lambda params: 1.0,
        lambda updates, factor, params: (
            jax.tree.map(lambda u: factor * u, updates),
            factor * jnp.float32(0.9),
        ),
    )
    return optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(0)), factor, optax.sgd(schedule))


def test_a_run_begins_with_the_types_that_its_updates_return():
    run = trainer(REGRESSION, REGRESSION.data, decaying, jnp.asarray(RATES), KEYS, batch_size=BATCH)
    begun = jax.eval_shape(run.begin)
    assert jax.eval_shape(run.advance, begun, np.int32(0), np.int32(2)) == begun
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(begun))
    assert len(jax.tree.leaves(begun.optimizer_state)) == 4


def test_the_derivative_of_the_end_by_every_learning_rate_is_its_difference_quotient():
    def final_loss(rates):
        run = train(
            REGRESSION, jnp.asarray(np.float64(REGRESSION.data)), optax.sgd, rates, KEYS, batch_size=BATCH
        )
        return run.metrics["train_loss"][-1]

    with jax.enable_x64(True):
        rates, step = jnp.asarray(np.float64(RATES) / 3), 1e-5
        gradient = jax.jit(jax.grad(final_loss))(rates)
        moved = rates[None] + step * np.concatenate([np.eye(STEPS), -np.eye(STEPS)])
        higher, lower = np.split(np.asarray(jax.jit(jax.vmap(final_loss))(moved)), 2)
        np.testing.assert_allclose(gradient, (higher - lower) / (2 * step), rtol=1e-6, atol=1e-12)
        assert np.all(np.abs(gradient) > 1e-8)
