"""The exact expected loss of linear regression, against enumeration, closed forms and simulation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from workloads import epoch_indices, load, run_keys, sweep, train
from workloads.linear_regression import exact_losses, power_law_spectrum, random_kernel

DIMENSION, BATCH, STEPS, SEEDS = 16, 4, 40, 2000
EVALUATE_AT = (1, 5, 20, 40)
SPECTRA = {0.5: 1.5, 1.0: 1.0, 2.0: 0.5}  # exponent: a moderate learning rate
# two-sided, level 0.01 for all comparisons together: spectra × 2 schedules × evaluations
Z_BOUND = stats.norm.isf(0.01 / 2 / (len(SPECTRA) * 2 * len(EVALUATE_AT)))


def two_schedules(peak):
    return peak * np.stack([np.ones(STEPS), 1 - np.arange(STEPS) / STEPS])


def z_scores(workload, peak):
    """(simulated mean - exact) / Monte-Carlo error, for both schedules at each evaluated step."""

    def run(row, data):
        keys = run_keys(row["key"])
        table = row["learning_rates"]
        return train(
            workload, data, optax.sgd, table, keys, batch_size=BATCH, evaluate_at=EVALUATE_AT
        ).metrics["train_loss"]

    schedules = np.float32(two_schedules(peak))
    rows = {
        "learning_rates": jnp.asarray(np.repeat(schedules, SEEDS, axis=0)),
        "key": jax.random.split(jax.random.key(17), 2 * SEEDS),
    }
    losses = np.asarray(sweep(run, rows, workload.data, vectorize=64), np.float64)
    losses = losses.reshape(2, SEEDS, len(EVALUATE_AT))
    exact = np.stack([exact_in_float64(table, kernel_of(workload)) for table in schedules])
    error = losses.std(axis=1, ddof=1) / np.sqrt(SEEDS)
    return (losses.mean(axis=1) - exact[:, np.array(EVALUATE_AT) - 1]) / error


def kernel_of(workload):
    root = np.asarray(workload.data, np.float64)
    return root @ root.T


compiled_exact_losses = jax.jit(exact_losses, static_argnums=2)


def exact_in_float64(learning_rates, kernel, batch_size=BATCH):
    with jax.enable_x64(True):
        table = jnp.asarray(np.float64(learning_rates))
        return np.asarray(compiled_exact_losses(table, jnp.asarray(kernel), batch_size))


def some_kernel(dimension, seed=0):
    with jax.enable_x64(True):
        return np.asarray(jax.jit(random_kernel)(jax.random.key(seed), power_law_spectrum(dimension)))


def enumerated_losses(learning_rates, kernel, batch_size):
    """½ E mean(z²) over every sequence of batches: z_t = M z₀, and E‖M z₀‖² = ‖M‖² for z₀ ~ N(0, I)."""
    dimension = len(kernel)
    batches = itertools.combinations(range(dimension), batch_size)
    chosen = np.array([np.isin(range(dimension), batch) for batch in batches])
    drifts = dimension / batch_size * kernel * chosen[:, None, :]  # (D/B) K[:, b], zero elsewhere
    products, losses = np.eye(dimension)[None], []
    for learning_rate in learning_rates:
        steps = np.eye(dimension) - learning_rate * drifts
        products = (steps[:, None] @ products[None]).reshape(-1, dimension, dimension)
        losses.append(np.mean(np.sum(products**2, axis=(1, 2))) / (2 * dimension))
    return np.array(losses)


@pytest.mark.parametrize("exponent", SPECTRA)
def test_exact_loss_is_the_mean_of_simulated_runs(exponent):
    workload = load("linear_regression", dimension=DIMENSION, exponent=exponent)
    assert np.max(np.abs(z_scores(workload, SPECTRA[exponent]))) < Z_BOUND


def test_the_simulation_would_notice_epochs_instead_of_fresh_subsets():
    workload = load("linear_regression", dimension=DIMENSION, exponent=0.5)
    epochs = workload._replace(indices=lambda key, batch, steps: epoch_indices(key, DIMENSION, batch, steps))
    assert np.min(z_scores(epochs, SPECTRA[0.5])[:, -1]) < -2 * Z_BOUND  # epochs converge faster


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
def test_exact_loss_equals_the_average_over_all_batch_sequences(batch_size):
    kernel = some_kernel(4)
    learning_rates = np.array([1.5, 0.7, 2.0, 0.3])
    exact = exact_in_float64(learning_rates, kernel, batch_size)
    np.testing.assert_allclose(exact, enumerated_losses(learning_rates, kernel, batch_size), rtol=1e-12)


def test_exact_loss_needs_no_positive_kernel_or_unit_trace():
    kernel = np.random.default_rng(0).normal(size=(4, 4))
    kernel = kernel + kernel.T
    learning_rates = np.array([0.1, 0.4, 0.2])
    exact = exact_in_float64(learning_rates, kernel, 2)
    np.testing.assert_allclose(exact, enumerated_losses(learning_rates, kernel, 2), rtol=1e-12)


def test_full_batches_decay_each_eigen_component_on_its_own():
    learning_rates = np.linspace(2.0, 0.1, 30)
    with jax.enable_x64(True):
        spectrum = np.asarray(power_law_spectrum(8))
    factors = np.cumprod((1 - learning_rates[:, None] * spectrum) ** 2, axis=0)
    exact = exact_in_float64(learning_rates, some_kernel(8), 8)
    np.testing.assert_allclose(exact, factors.mean(axis=1) / 2, rtol=1e-12)


def test_exact_loss_stays_exact_through_a_long_unstable_phase():
    # 80-bit floats: 2,000 times less rounding; the loss rises by ten orders and falls again
    learning_rates = np.concatenate([np.full(40, 4.0), np.full(200, 0.5)])
    kernel = some_kernel(12).astype(np.longdouble)
    overlap = np.longdouble(12 * 2) / (3 * 11)
    moment, losses = np.eye(12, dtype=np.longdouble), []
    for rate in learning_rates.astype(np.longdouble):
        batched = overlap * moment + (4 - overlap) * np.diag(np.diag(moment))
        moment = moment - rate * (kernel @ moment + moment @ kernel) + rate**2 * kernel @ batched @ kernel
        moment = (moment + moment.T) / 2
        losses.append(np.trace(moment) / 24)
    exact = exact_in_float64(learning_rates, some_kernel(12), 3)
    np.testing.assert_allclose(exact, np.float64(losses), rtol=1e-9)


def test_exact_loss_gradient_equals_finite_differences():
    kernel, learning_rates, width = some_kernel(5), np.array([1.0, 2.0, 0.5, 1.5]), 1e-5
    with jax.enable_x64(True):
        final = jax.jit(lambda table: exact_losses(table, jnp.asarray(kernel), 2)[-1])
        gradient = jax.grad(final)(jnp.asarray(learning_rates))
        differences = [
            float(final(jnp.asarray(learning_rates + shift)) - final(jnp.asarray(learning_rates - shift)))
            for shift in width * np.eye(4)
        ]
    # central differences: truncation ~width², rounding ~1e-16 / width
    np.testing.assert_allclose(gradient, np.array(differences) / (2 * width), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("argument", "dtypes"),
    [("learning_rates", (np.float32, np.float64)), ("kernel", (np.float64, np.float32))],
)
def test_float32_is_refused_by_name(argument, dtypes):
    with jax.enable_x64(True):
        learning_rates, kernel = jnp.ones(3, dtypes[0]), jnp.eye(4, dtype=dtypes[1])
        with pytest.raises(ValueError, match=f"{argument} must be float64, got float32"):
            exact_losses(learning_rates, kernel, 2)
