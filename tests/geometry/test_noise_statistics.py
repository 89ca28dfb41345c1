"""Noise scales of Gaussian gradients whose covariance is known: z-tests at the Monte-Carlo error."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from geometry import EUCLIDEAN, SIGN, SPECTRAL, Moments, noise_scale

LEVEL = 0.01  # of each statistical test below, two-sided, split evenly over its comparisons
SPLITS = ((2, 2), (2, 8), (4, 8), (8, 8), (8, 32))  # R parts of B examples
REPLICATES = 4000


def numpy_c4(parts):
    return math.sqrt(2 / (parts - 1)) * math.exp(math.lgamma(parts / 2) - math.lgamma((parts - 1) / 2))


def z_bound(comparisons):
    return norm.isf(LEVEL / comparisons / 2)


@functools.cache
def gaussian_matrices():
    """(mean, A, examples): a batch of 3×4 gradients mean + A·(iid) in each replicate."""
    rng = np.random.default_rng(3)
    mean, root = rng.normal(size=(3, 4)), np.tril(rng.uniform(0.5, 1.5, (3, 3)))
    return mean, root, mean + root @ rng.normal(size=(REPLICATES, 32, 3, 4))


def parts_of_replicates(parts, batch_size):
    examples = gaussian_matrices()[2][:, :batch_size]
    return jnp.float32(examples.reshape(REPLICATES, parts, batch_size // parts, 3, 4).mean(axis=2))


def z_scores(estimates, truth, deviation=None):
    """Of the mean over replicates (the first axis), from the estimates' known or else sample deviation."""
    estimates = np.asarray(estimates, np.float64)
    deviation = np.std(estimates, axis=0, ddof=1) if deviation is None else deviation
    return np.ravel((estimates.mean(axis=0) - truth) / deviation * math.sqrt(len(estimates)))


@jax.jit
@jax.vmap
def squares_and_grams(part_gradients):
    moments = Moments.of({"kernel": part_gradients})
    square_unit = moments.units["kernel"] ** 2
    return square_unit * moments.squares["kernel"], square_unit * moments.grams["kernel"][0][0]


def test_squares_and_grams_are_unbiased_however_the_batch_is_split():
    covariance = gaussian_matrices()[1] @ gaussian_matrices()[1].T
    variance = np.diag(covariance)[:, None]
    spread = np.sqrt(4 * (covariance**2 + np.outer(variance, variance)))  # of a Wishart matrix
    scores = []
    for parts, batch_size in SPLITS:
        squares, grams = squares_and_grams(parts_of_replicates(parts, batch_size))
        factor, degrees = batch_size / (parts * (parts - 1)), math.sqrt(parts - 1)
        scores.append(z_scores(factor * squares, variance, math.sqrt(2) * variance / degrees))
        scores.append(z_scores(factor * grams, 4 * covariance, spread / degrees)[[0, 1, 2, 4, 5, 8]])
    scores = np.concatenate(scores)
    assert np.max(np.abs(scores)) < z_bound(len(scores))


@functools.partial(jax.jit, static_argnums=2)
def noises_and_signals(replicates, batch_size, options):
    """For each (geometry, corrected), a row of noises and one of signals over the replicates."""

    def terms(part_gradients):
        scales = (noise_scale(part_gradients, batch_size, geometry, corrected=c) for geometry, c in options)
        return [(scale.noise, scale.signal) for scale in scales]

    return jax.vmap(terms)(replicates)


def test_noise_and_its_closed_form_corrections_are_unbiased():
    mean, root, _ = gaussian_matrices()
    l1 = 4 * np.sum(np.linalg.norm(root, axis=1))
    options = ((EUCLIDEAN, False), (SIGN, False), (SIGN, True), (EUCLIDEAN, True))
    scores = []
    for parts, batch_size in SPLITS:
        terms = noises_and_signals(parts_of_replicates(parts, batch_size), batch_size, options)
        (euclidean, _), (sign, _), (sign_corrected, _), (_, signal_corrected) = terms
        scores.append(z_scores(euclidean**2, 4 * np.sum(root**2)))
        scores.append(z_scores(sign, numpy_c4(parts) * l1))
        scores.append(z_scores(sign_corrected, l1))
        if batch_size > 8:  # in small batches the noise is at times above the signal, which is cut off at 0
            assert np.min(signal_corrected) > 0
            scores.append(z_scores(signal_corrected**2, np.sum(mean**2)))
    scores = np.concatenate(scores)
    assert np.max(np.abs(scores)) < z_bound(len(scores))


@pytest.mark.parametrize(("parts", "published"), [(2, 0.84), (8, 0.98)])
def test_the_spectral_root_is_too_small_by_what_a_simulation_says(parts, published):
    rng, deviation = np.random.default_rng(4), 0.7
    ours, theirs = deviation / math.sqrt(2) * rng.normal(size=(2, 200, parts, 16, 16))
    ((ours, _),) = noises_and_signals(jnp.float32(ours + 1), 2 * parts, ((SPECTRAL, False),))
    centred = theirs - theirs.mean(axis=1, keepdims=True)
    covariance = 2 / (parts - 1) * np.einsum("npij,npkj->nik", centred, centred)
    simulated = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0)).sum(axis=1)
    errors = [np.std(sample, ddof=1) / math.sqrt(200) for sample in (ours, simulated)]
    assert abs(np.mean(ours) - np.mean(simulated)) < z_bound(2) * np.hypot(*errors)
    assert abs(np.mean(ours) / (deviation * 16 * 4) - published) < 0.005  # s·m·√n, rounded to two places


def test_many_parts_of_iid_noise_give_the_closed_form():
    parts, deviation = 4000, 0.5

    def estimate(key, count):
        def add(t, moments):
            return moments.add(1 + deviation * jax.random.normal(jax.random.fold_in(key, t), (3, 5)))

        moments = jax.lax.fori_loop(0, count, add, Moments.init(jnp.zeros((3, 5))))
        return moments.estimate(count, SPECTRAL).noise

    noise = jax.jit(estimate)(jax.random.key(0), parts)
    # s·m·√n, to first order √(trace): its deviation is that of s√(m / 2R)
    assert abs(noise - deviation * 3 * math.sqrt(5)) < z_bound(1) * deviation * math.sqrt(3 / (2 * parts))


def test_without_a_true_gradient_the_scales_saturate():
    parts, batch_size, dimension = 8, 64, 20_000
    gradients = jnp.float32(np.random.default_rng(5).normal(size=(parts, dimension)))
    bias = numpy_c4(parts) ** 2
    cases = {  # truth over B, and the relative variance of a summand of signal and of noise, each squared
        EUCLIDEAN: (1, 2 + 2 / (parts - 1)),
        SIGN: (math.pi / 2 * bias, 4 * (math.pi / 2 - 1) + 4 * (1 / bias - 1)),
    }
    terms = noises_and_signals(gradients[None], batch_size, tuple((geometry, False) for geometry in cases))
    for (noise, signal), (truth, variance) in zip(terms, cases.values(), strict=True):
        ratio = (noise / signal) ** 2 / batch_size / truth
        assert abs(ratio - 1) < z_bound(2) * math.sqrt(variance / dimension)
