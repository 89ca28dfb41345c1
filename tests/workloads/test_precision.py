"""Losses computed in fewer bits than the weights have."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest

from workloads import Workload, load, run_keys, train, with_compute_dtype

POINTS = np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32)

# Σ w_i x_i averaged over the batch: the gradient is the mean of the points
LINEAR = Workload(
    data=jnp.asarray(POINTS),
    init=lambda key: jnp.linspace(0.1, 1.0, 5),
    indices=lambda key, batch_size, num_steps: jnp.tile(jnp.arange(batch_size), (num_steps, 1)),
    batch=lambda data, indices: data[indices],
    loss=lambda w, batch, key: jnp.mean(batch @ w),
    evaluate=lambda w, data: {"value": jnp.mean(data @ w)},
)


def rounded(array):
    return np.asarray(array).astype(ml_dtypes.bfloat16).astype(np.float64)


def test_parameters_and_batch_are_rounded_to_bfloat16_and_nothing_else():
    seen = []

    def loss(params, batch, key):
        images, labels = batch
        seen.append((params.dtype, images.dtype, labels.dtype))
        return jnp.sum(params) + jnp.sum(images)

    low = with_compute_dtype(LINEAR._replace(loss=loss), jnp.bfloat16)
    value = low.loss(jnp.float32([1 + 2**-10]), (jnp.float32([2 + 2**-12]), jnp.int32([3])), None)
    assert seen == [(jnp.bfloat16, jnp.bfloat16, jnp.int32)]
    assert (float(value), value.dtype) == (3.0, jnp.float32)  # bfloat16 keeps eight bits


def test_logits_are_those_of_the_rounded_parameters_and_points():
    low = with_compute_dtype(LINEAR._replace(max_logits=lambda w, batch: (w, batch)), jnp.bfloat16)
    params, batch = low.max_logits(jnp.float32([1 + 2**-10]), LINEAR.data)
    assert (params.dtype, float(params[0])) == (jnp.bfloat16, 1.0)
    np.testing.assert_array_equal(batch.astype(jnp.float32), rounded(POINTS))


def test_gradients_are_those_of_the_rounded_points_in_float32():
    low = with_compute_dtype(LINEAR, jnp.bfloat16)
    gradient = jax.grad(low.loss)(LINEAR.init(None), LINEAR.data, None)
    assert gradient.dtype == jnp.float32
    # each sum of sixteen bfloat16 numbers of order one may round: 2⁻⁸ a term
    np.testing.assert_allclose(gradient, rounded(POINTS).mean(axis=0), atol=2**-8)


def test_small_updates_are_kept_by_the_master_weights():
    low = with_compute_dtype(LINEAR, jnp.bfloat16)
    rates = jnp.full(20, 1e-4)  # an update is lost in bfloat16, whose neighbours of 1 are 0.004 away
    run = train(low, low.data, optax.sign_sgd, rates, run_keys(jax.random.key(0)), batch_size=16)
    assert run.params.dtype == jnp.float32
    start = np.linspace(0.1, 1.0, 5)
    moved = 20 * 1e-4 * np.sign(rounded(POINTS).mean(axis=0))
    np.testing.assert_allclose(run.params, start - moved, rtol=1e-6, atol=1e-6)
    # evaluated as they are: the mean over the points in float32
    np.testing.assert_allclose(
        run.metrics["value"][-1], (POINTS.astype(np.float64) @ (start - moved)).mean(), rtol=1e-5
    )


def test_a_network_computes_its_products_in_bfloat16_and_trains_alike():
    workload = load("digits", model="cnn")._replace(evaluate=lambda params, data: {})
    low = with_compute_dtype(workload, jnp.bfloat16)
    keys, rates = run_keys(jax.random.key(1)), jnp.full(15, 3e-3)

    def losses(workload):
        def run(data):
            return train(workload, data, optax.adam, rates, keys, batch_size=16).losses

        return jax.jit(run)(workload.data)

    full, half = losses(workload), losses(low)
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, full, rtol=0.03)  # 2⁻⁸ a product, over fifteen steps
    assert np.any(np.asarray(half) != np.asarray(full))
    params = jax.eval_shape(workload.init, keys.init)
    batch = jax.eval_shape(workload.batch, workload.data, jnp.arange(16))
    jaxpr = str(jax.make_jaxpr(low.loss)(params, batch, keys.loss))
    products = [line for line in jaxpr.splitlines() if "dot_general" in line or "conv_general" in line]
    assert products
    assert all(":bf16[" in line for line in products)


def test_integers_are_no_type_to_compute_in():
    with pytest.raises(ValueError, match="dtype must be a floating type, got int8"):
        with_compute_dtype(LINEAR, jnp.int8)
