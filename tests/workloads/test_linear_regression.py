"""The linear regression workload: its kernel, its starting point and its SGD step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from workloads import load, run_keys, train
from workloads.linear_regression import power_law_spectrum, random_kernel

# float32 rounding through a few products of well-scaled matrices
FLOAT32 = {"rtol": 1e-5, "atol": 1e-6}


def normalised_powers(dimension, exponent):
    powers = np.array([1 / k**exponent for k in range(1, dimension + 1)])
    return powers / powers.sum()


def residual(workload, weights):
    return np.asarray(workload.data, np.float64) @ np.asarray(weights, np.float64)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_spectrum_is_a_power_law_of_sum_one(exponent):
    np.testing.assert_allclose(power_law_spectrum(20, exponent), normalised_powers(20, exponent), rtol=1e-6)


@pytest.mark.parametrize("exponent", [0.5, 2.0])
def test_kernel_of_the_data_has_the_spectrum(exponent):
    root = np.asarray(load("linear_regression", dimension=12, exponent=exponent).data, np.float64)
    eigenvalues = np.linalg.eigvalsh(root @ root.T)[::-1]
    np.testing.assert_allclose(eigenvalues, normalised_powers(12, exponent), **FLOAT32)
    # z = Q Λ^{1/2} w: the columns of A are orthogonal, with squared lengths λ
    np.testing.assert_allclose(root.T @ root, np.diag(normalised_powers(12, exponent)), atol=1e-6)


def test_kernel_seed_chooses_the_eigenvectors_alone():
    roots = [
        np.asarray(load("linear_regression", dimension=6, kernel_seed=seed).data, np.float64)
        for seed in (0, 1)
    ]
    first, second = (root @ root.T for root in roots)
    assert np.max(np.abs(first - second)) > 0.01
    np.testing.assert_allclose(np.linalg.eigvalsh(first), np.linalg.eigvalsh(second), **FLOAT32)


def test_random_kernel_moments_are_those_of_uniform_eigenvectors():
    dimension, count = 4, 4000
    spectrum = normalised_powers(dimension, 1.0)
    keys = jax.random.split(jax.random.key(5), count)
    kernels = jax.vmap(lambda key: random_kernel(key, jnp.asarray(np.float32(spectrum))))(keys)
    entries = np.asarray(kernels, np.float64)[:, *np.triu_indices(dimension)]
    # Weingarten: E K = I/D · tr Λ; E K_ij² below from tr Λ² and (tr Λ)²
    square, trace = np.sum(spectrum**2), np.sum(spectrum)
    diagonal = (trace**2 + 2 * square) / (dimension * (dimension + 2))
    other = (dimension * square - trace**2) / (dimension * (dimension - 1) * (dimension + 2))
    on_diagonal = np.equal(*np.triu_indices(dimension))
    bound = stats.norm.isf(0.01 / 2 / (2 * entries.shape[1]))
    for sample, mean in (
        (entries, np.where(on_diagonal, trace / dimension, 0)),
        (entries**2, np.where(on_diagonal, diagonal, other)),
    ):
        z = (sample.mean(axis=0) - mean) / (sample.std(axis=0, ddof=1) / np.sqrt(count))
        assert np.max(np.abs(z)) < bound


def test_starting_residual_has_identity_second_moment():
    dimension, count = 5, 4000
    workload = load("linear_regression", dimension=dimension)
    weights = jax.vmap(workload.init)(jax.random.split(jax.random.key(2), count))
    residuals = np.asarray(weights, np.float64) @ np.asarray(workload.data, np.float64).T
    moment = residuals.T @ residuals / count
    # normal z: z_i z_j has variance 1, z_i² has variance 2
    z = (moment - np.eye(dimension)) / np.sqrt((1 + np.eye(dimension)) / count)
    unique = dimension * (dimension + 1) // 2
    assert np.max(np.abs(z)) < stats.norm.isf(0.01 / 2 / unique)
    mean_z = residuals.mean(axis=0) * np.sqrt(count)
    assert np.max(np.abs(mean_z)) < stats.norm.isf(0.01 / 2 / dimension)


def test_losses_are_half_mean_squares_of_the_residual():
    workload = load("linear_regression", dimension=6)
    weights = workload.init(jax.random.key(4))
    z, chosen = residual(workload, weights), np.array([4, 1])
    batch = workload.batch(workload.data, jnp.asarray(chosen))
    loss = workload.loss(weights, batch, jax.random.key(0))
    np.testing.assert_allclose(loss, 6 / 2 * np.mean(z[chosen] ** 2), rtol=1e-5)
    metrics = workload.evaluate(weights, workload.data)
    np.testing.assert_allclose(metrics["train_loss"], np.mean(z**2) / 2, rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_sgd_is_the_residual_recursion(batch_size):
    dimension, learning_rates = 7, np.float32([1.0, 0.5, 2.0, 0.25, 1.5])
    workload = load("linear_regression", dimension=dimension, exponent=0.5)
    keys = run_keys(jax.random.key(11))
    run = train(
        workload,
        workload.data,
        optax.sgd,
        jnp.asarray(learning_rates),
        keys,
        batch_size=batch_size,
        evaluate_at=range(6),
    )
    root = np.asarray(workload.data, np.float64)
    kernel, z = root @ root.T, residual(workload, workload.init(keys.init))
    losses = [np.mean(z**2) / 2]
    for rate, b in zip(learning_rates, np.asarray(workload.indices(keys.data, batch_size, 5)), strict=True):
        z = z - rate * dimension / batch_size * kernel[:, b] @ z[b]
        losses.append(np.mean(z**2) / 2)
    np.testing.assert_allclose(residual(workload, run.params), z, **FLOAT32)
    np.testing.assert_allclose(run.metrics["train_loss"], losses, **FLOAT32)


@pytest.mark.parametrize(("option", "value"), [("dimension", 1), ("dimension", 0), ("exponent", -0.5)])
def test_meaningless_options_are_refused_by_name(option, value):
    with pytest.raises(ValueError, match=f"{option} must .* got {value}"):
        load("linear_regression", **{option: value})
