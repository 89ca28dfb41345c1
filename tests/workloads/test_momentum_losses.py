"""The exact loss with heavy-ball momentum, against enumeration, the plain recursion and simulation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from workloads import load, run_keys, sweep, train
from workloads.linear_regression import exact_losses, modal_losses

compiled = jax.jit(exact_losses, static_argnums=2)
# six steps: E[z_i m_j] and E[m_i z_j] come to differ in the third, and the loss feels it in the fifth
RATES = np.array([1.2, 0.7, 1.5, 0.3, 0.9, 0.6])


def exact_in_float64(learning_rates, kernel, batch_size, momentum):
    with jax.enable_x64(True):
        table = jnp.asarray(np.float64(learning_rates))
        return np.asarray(compiled(table, jnp.asarray(kernel), batch_size, momentum))


def some_kernel(dimension):
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(dimension, dimension)))[0]
    return basis @ np.diag(1 / np.arange(1, dimension + 1)) @ basis.T


def enumerated_losses(learning_rates, kernel, batch_size, momentum):
    """½ E mean(z²) over every sequence of batches, from the linear map of (z, m) that a batch is."""
    dimension = len(kernel)
    batches = list(itertools.combinations(range(dimension), batch_size))
    chosen = np.array([np.isin(range(dimension), batch) for batch in batches])
    drifts = dimension / batch_size * kernel * chosen[:, None, :]
    identity = np.eye(dimension)
    reached, losses = np.concatenate([identity, 0 * identity])[None], []  # (z, m) as linear maps of z₀
    for rate in learning_rates:
        steps = [
            np.block([[identity - rate * g, -rate * momentum * identity], [g, momentum * identity]])
            for g in drifts
        ]
        reached = np.concatenate([step @ reached for step in steps])
        losses.append(np.mean(np.sum(reached[:, :dimension] ** 2, axis=(1, 2))) / (2 * dimension))
    return np.array(losses)


@pytest.mark.parametrize("momentum", [0.3, 0.9])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_exact_loss_equals_the_average_over_all_batch_sequences(batch_size, momentum):
    kernel = some_kernel(4)
    expected = enumerated_losses(RATES, kernel, batch_size, momentum)
    np.testing.assert_allclose(exact_in_float64(RATES, kernel, batch_size, momentum), expected, rtol=1e-12)


def test_without_momentum_it_is_the_plain_recursion():
    kernel, dimension, batch_size = some_kernel(6), 6, 2
    overlap = dimension * (batch_size - 1) / (batch_size * (dimension - 1))
    moment, losses = np.eye(dimension), []
    for rate in RATES:
        batched = overlap * moment + (dimension / batch_size - overlap) * np.diag(np.diag(moment))
        moment = moment - rate * (kernel @ moment + moment @ kernel) + rate**2 * kernel @ batched @ kernel
        losses.append(np.trace(moment) / (2 * dimension))
    np.testing.assert_allclose(exact_in_float64(RATES, kernel, batch_size, 0.0), losses, rtol=1e-12)


def test_exact_loss_is_the_mean_of_simulated_runs_with_optax_momentum():
    dimension, batch_size, steps, seeds, momentum = 8, 2, 12, 2000, 0.8
    evaluate_at = (2, 6, 12)
    workload = load("linear_regression", dimension=dimension)
    rates = np.float32(np.linspace(0.4, 0.05, steps))

    def run(row, data):
        keys = run_keys(row)
        finished = train(
            workload,
            data,
            lambda schedule: optax.sgd(schedule, momentum=momentum),
            jnp.asarray(rates),
            keys,
            batch_size=batch_size,
            evaluate_at=evaluate_at,
        )
        return finished.metrics["train_loss"]

    keys = jax.random.split(jax.random.key(17), seeds)
    losses = np.asarray(sweep(run, keys, workload.data, vectorize=64), np.float64)
    root = np.asarray(workload.data, np.float64)
    exact = exact_in_float64(rates, root @ root.T, batch_size, momentum)[np.array(evaluate_at) - 1]
    z = (losses.mean(axis=0) - exact) / (losses.std(axis=0, ddof=1) / np.sqrt(seeds))
    assert np.max(np.abs(z)) < stats.norm.isf(0.01 / 2 / len(evaluate_at))


def test_gradients_in_rates_and_momentum_equal_finite_differences():
    kernel, width = some_kernel(5), 1e-5

    @jax.jit
    def final(inputs):
        return exact_losses(inputs[:-1], jnp.asarray(kernel), 2, inputs[-1])[-1]

    with jax.enable_x64(True):
        point = np.append(RATES, 0.6)
        gradient = np.asarray(jax.jit(jax.grad(final))(jnp.asarray(point)))
        differences = [
            float(final(jnp.asarray(point + shift)) - final(jnp.asarray(point - shift)))
            for shift in width * np.eye(7)
        ]
    np.testing.assert_allclose(gradient, np.array(differences) / (2 * width), rtol=1e-8, atol=1e-10)


def test_eigenvectors_are_the_columns_of_the_basis():
    basis = np.linalg.qr(np.random.default_rng(8).normal(size=(4, 4)))[0]
    spectrum = np.array([0.1, 0.9, 0.4, 0.2])
    expected = enumerated_losses(RATES, basis @ np.diag(spectrum) @ basis.T, 2, 0.3)
    with jax.enable_x64(True):
        arrays = map(jnp.asarray, (RATES, spectrum, basis))
        np.testing.assert_allclose(jax.jit(modal_losses)(*arrays, 2, 0.3), expected, rtol=1e-12)


def test_batch_size_and_momentum_may_be_traced():
    kernel = some_kernel(4)
    with jax.enable_x64(True):
        table = jnp.asarray(RATES)
        traced = jax.jit(exact_losses)(table, jnp.asarray(kernel), 2.0, 0.3)
    np.testing.assert_allclose(traced, enumerated_losses(RATES, kernel, 2, 0.3), rtol=1e-12)


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_momentum_outside_its_interval_is_refused(momentum):
    with (
        jax.enable_x64(True),
        pytest.raises(ValueError, match=rf"momentum must be in \[0, 1\), got {momentum}"),
    ):
        exact_losses(jnp.ones(3), jnp.eye(4), 2, momentum)
