"""Steps and samples at each batch size, against the published numbers, a minimiser and simulated noise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, signal, stats

from geometry import (
    EUCLIDEAN,
    HYPERBOLA,
    INVERSE,
    INVERSE_ROOT,
    BatchLaw,
    NoiseScale,
    bound_law,
    momentum_noise_factor,
)

BOUND_FORMS = (INVERSE_ROOT, INVERSE)
FORMS = (*BOUND_FORMS, HYPERBOLA)
BATCH_SIZES = np.array([8.0, 13.0, 40.0, 1000.0])


@pytest.mark.parametrize("form", BOUND_FORMS, ids=repr)
def test_after_the_steps_of_a_bound_the_bound_is_the_target(form):
    x, y, z, target = 3.0, 0.7, 0.1, 0.4
    steps = bound_law(form, x, y, target - z).steps(BATCH_SIZES)
    noise = {INVERSE_ROOT: y / np.sqrt(BATCH_SIZES), INVERSE: y / BATCH_SIZES}[form]
    np.testing.assert_allclose(x / steps + noise + z, target, rtol=1e-14)


def test_no_number_of_steps_reaches_a_target_below_the_noise():
    law = bound_law(INVERSE_ROOT, 3.0, 0.7, 0.2)  # infinite up to (Y/gap)² = 12.25
    assert law.steps(12.25 * (1 - 1e-9)) == math.inf
    assert math.isfinite(law.steps(12.25 * (1 + 1e-9)))
    np.testing.assert_array_equal(bound_law(INVERSE, 3.0, 0.7, 0.2).steps(np.array([1.0, 3.4])), math.inf)


@pytest.mark.parametrize("form", BOUND_FORMS, ids=repr)
def test_the_critical_batch_takes_the_fewest_samples(form):
    law = BatchLaw(form, 15.0, 12.25)
    found = optimize.minimize_scalar(law.samples, bounds=(12.3, 200), options={"xatol": 1e-9})
    np.testing.assert_allclose(law.critical_batch, found.x, rtol=1e-6)
    np.testing.assert_allclose(law.critical_samples, found.fun, rtol=1e-12)


def test_at_the_critical_batch_of_a_hyperbola_steps_and_samples_are_twice_the_fewest():
    law = BatchLaw(HYPERBOLA, 15.0, 12.25)
    assert law.steps(law.critical_batch) == 2 * law.min_steps
    np.testing.assert_allclose(law.critical_samples, 2 * law.samples(1e-9), rtol=1e-9)
    steps, samples = law.steps(BATCH_SIZES) / 15, law.samples(BATCH_SIZES) / (15 * 12.25)
    np.testing.assert_allclose((steps - 1) * (samples - 1), 1, rtol=1e-12)  # McCandlish's own form


def test_a_hyperbola_needs_as_many_more_steps_as_the_best_euclidean_step_gains_less():
    scale = NoiseScale(jnp.float32(3.5), jnp.float32(1.0), EUCLIDEAN)
    law = BatchLaw(HYPERBOLA, 100.0, scale.value)
    np.testing.assert_allclose(law.steps(BATCH_SIZES) * scale.relative_gain(BATCH_SIZES), 100, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_the_batch_size_for_so_many_steps_takes_them(form):
    law = BatchLaw(form, 15.0, 12.25)
    batch_sizes = np.array([12.5, 30.0, 1e4])
    np.testing.assert_allclose(law.batch_size(law.steps(batch_sizes)), batch_sizes, rtol=1e-9)
    np.testing.assert_array_equal(law.batch_size(np.array([15.0, 3.0])), math.inf)


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_many_laws_are_mapped_and_compiled_as_one(form):
    laws = BatchLaw(form, jnp.array([15.0, 100.0]), jnp.array([12.25, 7.0]))
    mapped = jax.jit(jax.vmap(lambda law: (law.steps(BATCH_SIZES), law.critical_samples)))
    steps, samples = mapped(laws)
    for row, (min_steps, scale) in enumerate([(15.0, 12.25), (100.0, 7.0)]):
        exact = BatchLaw(form, min_steps, scale)
        np.testing.assert_allclose(steps[row], exact.steps(BATCH_SIZES), rtol=3e-6)
        np.testing.assert_allclose(samples[row], exact.critical_samples, rtol=3e-6)


def test_wrong_constants_are_named():
    with pytest.raises(ValueError, match=r"gap must be positive, got -0\.1"):
        bound_law(INVERSE, 3.0, 0.7, -0.1)
    with pytest.raises(ValueError, match=r"y must be positive, got 0\.0"):
        bound_law(INVERSE, 3.0, 0.0, 0.2)
    with pytest.raises(ValueError, match="form: only inverse_root and inverse solve a bound, got hyperbola"):
        bound_law(HYPERBOLA, 3.0, 0.7, 0.2)
    for momentum in (1.0, -0.1):
        with pytest.raises(ValueError, match=r"momentum must be in \[0, 1\), got"):
            momentum_noise_factor(momentum)


@functools.cache
def averages(momentum):
    """(plain, Nesterov): the last of long moving averages of unit noise, one of each chain."""
    noise = np.random.default_rng(7).normal(size=(20_000, 60))
    plain = signal.lfilter([1 - momentum], [1, -momentum], noise)
    return plain[:, -1], momentum * plain[:, -1] + (1 - momentum) * noise[:, -1]


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.8])
def test_averaged_noise_has_the_variance_that_momentum_leaves(momentum, nesterov):
    average = averages(momentum)[nesterov]
    expected = momentum_noise_factor(momentum, nesterov=nesterov)
    z = (np.mean(average**2) / expected - 1) / math.sqrt(2 / len(average))
    assert abs(z) < stats.norm.isf(0.01 / 6 / 2)


def test_more_momentum_leaves_less_noise():
    momenta = np.linspace(0, 0.999, 200)
    for nesterov in (False, True):
        factors = momentum_noise_factor(momenta, nesterov=nesterov)
        assert factors[0] == 1
        assert np.all(np.diff(factors) < 0)
