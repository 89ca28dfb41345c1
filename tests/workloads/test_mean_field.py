"""The mean-field expected loss of linear regression: where it holds, and where it does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from workloads.linear_regression import exact_losses, expected_losses, power_law_spectrum, random_kernel

MODERATE = {0.5: 2.0, 1.0: 2.0, 2.0: 1.0}  # exponent: learning rate, at D = 64 and B = 8


def exact_over_kernels(learning_rates, exponent, dimension, batch_size, num_kernels):
    """Exact losses [kernels, steps] for independent random kernels, in float64."""
    with jax.enable_x64(True):
        spectrum, keys = (
            power_law_spectrum(dimension, exponent),
            jax.random.split(jax.random.key(3), num_kernels),
        )
        return np.asarray(losses_of_kernels(np.float64(learning_rates), spectrum, keys, batch_size))


@functools.partial(jax.jit, static_argnums=3)
def losses_of_kernels(table, spectrum, keys, batch_size):
    return jax.vmap(lambda key: exact_losses(table, random_kernel(key, spectrum), batch_size))(keys)


def mean_field(learning_rates, exponent, dimension, batch_size):
    with jax.enable_x64(True):
        spectrum = power_law_spectrum(dimension, exponent)
        return np.asarray(compiled_mean_field(np.float64(learning_rates), spectrum, batch_size))


compiled_mean_field = jax.jit(expected_losses, static_argnums=2)


def numpy_mean_field(learning_rates, spectrum, batch_size):
    """E[z_i²] in the eigenbasis: (1 - ηλ_i)² E[z_i²] + η² (1/B - 1/D) λ_i² Σ_j E[z_j²]."""
    squares, losses = np.ones(len(spectrum)), []
    for rate in learning_rates:
        noise = rate**2 * (1 / batch_size - 1 / len(spectrum)) * spectrum**2 * squares.sum()
        squares = (1 - rate * spectrum) ** 2 * squares + noise
        losses.append(squares.mean() / 2)
    return np.array(losses)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("batch_size", [1, 3, 12])
def test_mean_field_equals_its_formula_in_numpy(exponent, batch_size):
    learning_rates = np.linspace(2.0, 0.1, 25)
    spectrum = np.arange(1.0, 13) ** -exponent
    expected = numpy_mean_field(learning_rates, spectrum / spectrum.sum(), batch_size)
    computed = mean_field(learning_rates, exponent, 12, batch_size)
    np.testing.assert_allclose(computed, expected, rtol=1e-12)


def test_mean_field_in_float32_keeps_float32_accuracy():
    learning_rates = np.float32(np.linspace(2.0, 0.1, 100))
    spectrum = power_law_spectrum(64)
    expected = numpy_mean_field(np.float64(learning_rates), np.asarray(spectrum, np.float64), 8)
    computed = expected_losses(jnp.asarray(learning_rates), spectrum, 8)
    # each of 100 steps multiplies by factors rounded to 6e-8
    np.testing.assert_allclose(computed, expected, rtol=100 * 6e-8)


def test_full_batches_decay_each_eigen_component_on_its_own():
    learning_rates = np.linspace(3.0, 0.1, 30)
    spectrum = 1 / np.arange(1.0, 9)
    factors = np.cumprod((1 - learning_rates[:, None] * spectrum / spectrum.sum()) ** 2, axis=0)
    computed = mean_field(learning_rates, 1.0, 8, 8)
    np.testing.assert_allclose(computed, factors.mean(axis=1) / 2, rtol=1e-12)


def test_the_first_step_is_exact_for_every_kernel():
    # z₀ is isotropic, so the eigenbasis does not matter yet
    exact = exact_over_kernels([3.0], 1.0, 16, 4, num_kernels=4)
    np.testing.assert_allclose(exact[:, 0], mean_field([3.0], 1.0, 16, 4).repeat(4), rtol=1e-12)


@pytest.mark.parametrize("exponent", MODERATE)
@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_mean_field_is_within_two_percent_at_moderate_rates(exponent, decay):
    learning_rates = MODERATE[exponent] * (1 - decay * np.arange(100) / 100)
    exact = exact_over_kernels(learning_rates, exponent, 64, 8, num_kernels=12).mean(axis=0)
    np.testing.assert_allclose(mean_field(learning_rates, exponent, 64, 8), exact, rtol=0.02)


def mean_field_optimum(dimension, batch_size, num_steps):
    """Learning rates that L-BFGS finds from constant 1 by minimising the mean field's final loss."""
    with jax.enable_x64(True):
        spectrum = power_law_spectrum(dimension)
        objective = jax.jit(
            jax.value_and_grad(lambda table: jnp.log(expected_losses(table, spectrum, batch_size)[-1]))
        )

        def value_and_gradient(table):
            value, gradient = objective(jnp.asarray(table))
            return float(value), np.asarray(gradient)

        options = {"maxiter": 150}
        start = np.ones(num_steps)
        return minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).x


def test_mean_field_deceives_where_it_is_optimised():
    learning_rates = mean_field_optimum(32, 4, 100)
    promised = mean_field(learning_rates, 1.0, 32, 4)[-1]
    moderate = mean_field(np.ones(100), 1.0, 32, 4)[-1]
    true = exact_over_kernels(learning_rates, 1.0, 32, 4, num_kernels=8)[:, -1]
    assert promised < moderate / 10
    assert np.mean(true) > 2 * promised
    assert np.median(true) > 2 * promised


def test_mean_field_deceives_near_the_stability_edge():
    learning_rates = np.full(100, 4.0)
    promised = mean_field(learning_rates, 1.0, 16, 4)[-1]
    true = exact_over_kernels(learning_rates, 1.0, 16, 4, num_kernels=8)[:, -1]
    assert promised < 1e-5 * mean_field(learning_rates, 1.0, 16, 4)[0]  # it promises convergence
    assert np.mean(true) > 2 * promised
    assert np.median(true) > 2 * promised


def test_mean_field_gradient_equals_finite_differences():
    learning_rates, width = np.array([1.0, 2.5, 0.5]), 1e-5
    with jax.enable_x64(True):
        final = jax.jit(lambda table: expected_losses(table, power_law_spectrum(6), 2)[-1])
        gradient = jax.grad(final)(jnp.asarray(learning_rates))
        differences = [
            float(final(jnp.asarray(learning_rates + shift)) - final(jnp.asarray(learning_rates - shift)))
            for shift in width * np.eye(3)
        ]
    # central differences: truncation ~width², rounding ~1e-16 / width
    np.testing.assert_allclose(gradient, np.array(differences) / (2 * width), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("batch_size", [0, 5])
def test_a_batch_must_fit_the_dimension(batch_size):
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, D\].*D=4"):
        expected_losses(jnp.ones(3), power_law_spectrum(4), batch_size)
    with jax.enable_x64(True), pytest.raises(ValueError, match=r"batch_size must be in \[1, D\].*D=4"):
        exact_losses(jnp.ones(3), jnp.eye(4), batch_size)
