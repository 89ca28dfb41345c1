"""Training on quadratics of known gradient noise: steps to a target follow their law, and the fit finds it.

Noise that is added to the gradient makes the bounds' laws hold; noise in proportion to the gradient has one
noise scale throughout, and makes McCandlish's law hold.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import special, stats

import workloads
from experiments.study.statistics.curves import first_reached
from geometry import EUCLIDEAN, HYPERBOLA, INVERSE, INVERSE_ROOT, bound_law, fit_law, noise_scale

# ½|w|² with the gradient w + σξ/√b, at a constant rate; the mean over the run of |∇f|, or of its square, is
# to come down to 1. The first batch size is below the scale of either law
COORDINATES, RATE, DEVIATION, COPIES = 32, 0.5, 1.2, 8
BATCH_SIZES, HORIZON = np.array([12, 20, 28, 40, 64, 160, 640]), 1_800
POWERS = {INVERSE_ROOT: 1, INVERSE: 2}
STARTS = {INVERSE_ROOT: 100.0, INVERSE: 12.0}  # |w₀|, for 200 steps at the least


@jax.jit
def gradient_norms(start, key):
    """|∇f(w_t)| for t < HORIZON, of several copies at each batch size."""
    deviations = jnp.float32(DEVIATION / np.sqrt(BATCH_SIZES))[:, None, None]

    def step(w, key):
        gradient = w + deviations * jax.random.normal(key, w.shape)
        return w - RATE * gradient, jnp.linalg.norm(w, axis=-1)

    w = jnp.full((len(BATCH_SIZES), COPIES, COORDINATES), start / math.sqrt(COORDINATES))
    return jax.lax.scan(step, w, jax.random.split(key, HORIZON))[1]


def law_of_added_noise(form):
    """What shrinks by 1 - η a step adds X to the sum over the run, and the noise adds its stationary value.

    Squares do add up: E|w_t|² = r^t |w₀|² + (1 - r^t) Y/b with r = (1 - η)², and the first T sum up to
    T Y/b + (|w₀|² - Y/b)(1 - r^T)/(1 - r). Norms do but for the few steps where both matter.
    """
    variance = RATE * DEVIATION**2 / (2 - RATE)  # of a coordinate of w in the long run, at b = 1
    if form is INVERSE:
        return bound_law(form, STARTS[form] ** 2 / (1 - (1 - RATE) ** 2), variance * COORDINATES, 1.0)
    mean_of_chi = math.sqrt(2) * special.poch(COORDINATES / 2, 0.5)
    return bound_law(form, STARTS[form] / RATE, math.sqrt(variance) * mean_of_chi, 1.0)


@pytest.mark.parametrize(("form", "tolerance"), [(INVERSE_ROOT, 0.05), (INVERSE, 0.02)], ids=repr)
def test_steps_under_added_noise_are_those_of_the_bound(form, tolerance):
    norms = np.float64(gradient_norms(STARTS[form], jax.random.key(1)))
    times = np.arange(1, HORIZON + 1)
    means = np.cumsum(np.mean(norms ** POWERS[form], axis=-1), axis=0) / times[:, None]
    steps = np.array([first_reached(curve, times, 1.0) for curve in means.T])

    law = law_of_added_noise(form)
    np.testing.assert_allclose(steps, law.steps(BATCH_SIZES), rtol=tolerance)
    assert steps[0] == math.inf
    fit = fit_law(form, BATCH_SIZES, steps, HORIZON)
    every = np.geomspace(law.scale * 1.01, 100 * law.scale, 10_000)
    samples = every * law.steps(every)
    np.testing.assert_allclose(fit.critical_batch, every[np.argmin(samples)], rtol=0.1)
    np.testing.assert_allclose(fit.law.critical_samples, np.min(samples), rtol=0.1)


# A regression of flat spectrum has rows a of norm D^(-1/2), orthogonal to each other, and gradients D a aᵀw:
# drawn with replacement, tr C = (D - 1) |∇L|² everywhere. At a share κ of the best rate, D / (1 + 𝓑/b), the
# expected loss shrinks by the factor 1 - κ(2 - κ) / (1 + 𝓑/b) a step: a hyperbola but for terms of order κ
DIMENSION, SHARE, SEEDS = 32, 0.02, 16
NOISE_SCALE = DIMENSION - 1
TARGET = math.exp(-2)  # of the loss, by that of the start
WORKLOAD = workloads.load("linear_regression", dimension=DIMENSION, exponent=0.0)._replace(
    indices=lambda key, batch_size, num_steps: jax.random.randint(key, (num_steps, batch_size), 0, DIMENSION)
)


def steps_under_proportional_noise(batch_size):
    return math.log(TARGET) / math.log1p(-SHARE * (2 - SHARE) / (1 + NOISE_SCALE / batch_size))


@functools.cache
def squares_along_the_run(batch_size):
    """|∇L|², and the squared noise and signal of the noise scale, before each step (axis 1) of SGD."""
    num_steps = round(1.2 * steps_under_proportional_noise(batch_size))
    rates = jnp.full(num_steps, SHARE * DIMENSION / (1 + NOISE_SCALE / batch_size))

    def probe(weights, state, batch, part_gradients, key):
        scale = noise_scale(part_gradients, batch_size, EUCLIDEAN)
        gradient = jnp.linalg.norm(weights) / DIMENSION
        return {"gradient": gradient, "noise": scale.noise, "signal": scale.signal}

    def run(key):
        options = {"batch_size": batch_size, "parts": 4, "probe": probe}
        keys = workloads.run_keys(key)
        return workloads.train(WORKLOAD, WORKLOAD.data, optax.sgd, rates, keys, **options).probes

    probes = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), SEEDS))
    return [np.float64(probes[name]) ** 2 for name in ("gradient", "noise", "signal")]


def test_steps_at_a_fixed_share_of_the_best_rate_are_those_of_the_hyperbola():
    batch_sizes, steps = (4, 32, 256), []
    for batch_size in batch_sizes:
        losses = squares_along_the_run(batch_size)[0]  # by a factor that is the same throughout
        curve = np.mean(losses / losses[:, :1], axis=0)
        steps.append(first_reached(curve, range(len(curve)), TARGET))
    np.testing.assert_allclose(steps, list(map(steps_under_proportional_noise, batch_sizes)), rtol=0.05)
    fit = fit_law(HYPERBOLA, np.array(batch_sizes), np.array(steps), 1e9)
    np.testing.assert_allclose(fit.critical_batch, NOISE_SCALE, rtol=0.1)


def test_the_noise_scale_measured_along_the_run_is_the_one_of_the_steps():
    gradient, noise, signal = squares_along_the_run(32)
    signal = signal - noise / 32  # without the noise in it
    # noise - 𝓑 signal has mean zero at each step, whatever came before: steps add up like independent ones
    excess = np.ravel((noise - NOISE_SCALE * signal) / gradient)
    assert abs(stats.ttest_1samp(excess, 0).statistic) < stats.norm.isf(0.005)
    np.testing.assert_allclose(noise.sum() / signal.sum(), NOISE_SCALE, rtol=0.1)
