"""Noise scales against NumPy in float64 and closed forms, and their running average."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import (
    EUCLIDEAN,
    SIGN,
    SPECTRAL,
    MatrixView,
    Moments,
    NoiseAverage,
    NoiseScale,
    c4,
    noise_scale,
    plain_matrices,
)

GEOMETRIES = {geometry.name: geometry for geometry in (EUCLIDEAN, SIGN, SPECTRAL)}
FLOAT32, ROOT_TRACE = 1e-5, 3e-4  # sums of a hundred rounded terms; the stated bias of `root_trace`

# leaf → its shape, its view, and the same matrices by explicit slicing
LEAVES = {
    "bias": ((5,), None, None),
    "conv/kernel": ((2, 2, 2, 3), MatrixView((0, 1, 2), (3,)), lambda g: [g.reshape(8, 3)]),
    "gain": ((), None, None),
    "heads/kernel": ((5, 2, 3), MatrixView((0,), (2,), batch=(1,)), lambda g: [g[:, 0], g[:, 1]]),
    "plain": ((2, 3), None, None),
    "qkv/kernel": ((4, 7), MatrixView((0,), (1,), blocks=(4, 3)), lambda g: [g[:, :4], g[:, 4:]]),
    "square/kernel": ((3, 3), MatrixView((0,), (1,)), lambda g: [g]),
    "tall/kernel": ((7, 3), MatrixView((0,), (1,)), lambda g: [g]),
    "wide/kernel": ((3, 7), MatrixView((0,), (1,)), lambda g: [g]),
}


def view(path, shape):
    return LEAVES[path][1]


def drawn(parts, seed=0):
    rng = np.random.default_rng(seed)
    return {
        leaf: rng.normal(size=shape) + rng.normal(size=(parts, *shape)) * rng.uniform(0.3, 2, shape)
        for leaf, (shape, _, _) in LEAVES.items()
    }


def numpy_terms(leaf, parts, batch_size, geometry):
    """(noise, signal) of one leaf, by the formulas as they are written down."""
    factor, mean = batch_size / (len(parts) - 1), np.mean(parts, axis=0)
    variance = np.maximum(factor * (np.mean(parts**2, axis=0) - mean**2), 0)
    if geometry is EUCLIDEAN:
        return np.sqrt(variance.sum()), np.sqrt(np.sum(mean**2))
    slices = LEAVES[leaf][2]
    if geometry is SIGN or slices is None:
        return np.sqrt(variance).sum(), np.abs(mean).sum()
    noise, signal = 0, 0
    for matrices in zip(*map(slices, parts), strict=True):
        wide = [matrix if len(matrix) <= len(matrix.T) else matrix.T for matrix in matrices]
        centre = np.mean(wide, axis=0)
        covariance = factor * (np.mean([g @ g.T for g in wide], axis=0) - centre @ centre.T)
        noise += np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0)).sum()
        signal += np.linalg.svd(centre, compute_uv=False).sum()
    return noise, signal


@functools.partial(jax.jit, static_argnames="view")  # all in one program, so that it compiles once
def scales_of(part_gradients, batch_size, view=plain_matrices):
    """By geometry, the scale of the whole tree, and the scales of its leaves."""
    moments = Moments.of(part_gradients, view)
    leaves = {name: moments.estimate_leaves(batch_size, geometry) for name, geometry in GEOMETRIES.items()}
    total = {
        name: noise_scale(part_gradients, batch_size, geometry, view=view)
        for name, geometry in GEOMETRIES.items()
    }
    return total, leaves


def assert_terms(scale, noise, signal, tolerance, label):
    computed, expected = (scale.noise, scale.signal, scale.value), (noise, signal, (noise / signal) ** 2)
    np.testing.assert_allclose(computed, expected, rtol=2 * tolerance, err_msg=label)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_leaves_and_their_total_follow_the_formulas(geometry):
    gradients, batch_size = drawn(parts=6), 24
    total, leaves = (s[geometry] for s in scales_of(jax.tree.map(jnp.float32, gradients), batch_size, view))
    terms = {leaf: numpy_terms(leaf, g, batch_size, GEOMETRIES[geometry]) for leaf, g in gradients.items()}
    spectral, add = geometry == "spectral", np.linalg.norm if geometry == "euclidean" else np.sum
    tolerance = ROOT_TRACE if spectral else FLOAT32
    assert leaves.keys() == terms.keys()
    for leaf, scale in leaves.items():
        assert_terms(scale, *terms[leaf], tolerance, leaf)
        assert scale.by_sign == ((leaf,) if spectral and LEAVES[leaf][1] is None else ())
    assert_terms(total, *map(add, zip(*terms.values(), strict=True)), tolerance, "total")
    assert total.by_sign == (("bias", "gain", "plain") if spectral else ())


def test_two_ranks_of_one_example():
    total, leaves = scales_of({"first": jnp.array([3.0, 1.0]), "second": jnp.array([1.0, 1.0])}, 2)
    np.testing.assert_allclose(total["sign"].value, 2 / 9, rtol=1e-6)
    np.testing.assert_allclose(total["euclidean"].value, 0.4, rtol=1e-6)
    np.testing.assert_allclose([leaf.noise**2 for leaf in leaves["euclidean"].values()], [2, 0], rtol=1e-6)


def test_matrices_that_are_as_good_as_vectors():
    drawn = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32) + 1
    diagonal = drawn[:, :, None] * np.eye(6, dtype=np.float32)
    _, leaves = scales_of({"row": drawn[:, None], "column": drawn[:, :, None], "diagonal": diagonal}, 10)
    for leaf in ("row", "column"):
        value = leaves["spectral"][leaf].value
        np.testing.assert_allclose(value, leaves["euclidean"][leaf].value, rtol=2 * FLOAT32)
    np.testing.assert_allclose(
        leaves["spectral"]["diagonal"].value, leaves["sign"]["diagonal"].value, rtol=2 * ROOT_TRACE
    )


def test_rescaling_the_loss_changes_nothing():
    def values(scale):
        gradients = jax.tree.map(lambda g: jnp.float32(scale * g), drawn(parts=6))
        return {name: total.value for name, total in scales_of(gradients, 24, view)[0].items()}

    expected = values(1)
    for scale in (1e-6, -3e4):
        for name, value in values(scale).items():
            np.testing.assert_allclose(value, expected[name], rtol=10 * FLOAT32, err_msg=name)


def test_the_shorter_side_counts():
    # noise in the first row alone, of covariance exactly I there: 2 by the row side, 4 by the column side
    parts = np.zeros((8, 2, 4), np.float32)
    parts[:4, 0], parts[4:, 0] = math.sqrt(3.5) * np.eye(4), -math.sqrt(3.5) * np.eye(4)
    _, leaves = scales_of({"wide": parts, "tall": parts.mT}, 8)
    for leaf in ("wide", "tall"):
        np.testing.assert_allclose(leaves["spectral"][leaf].noise, 2, rtol=ROOT_TRACE)
        np.testing.assert_allclose(leaves["euclidean"][leaf].noise, 2, rtol=FLOAT32)


def test_without_signal_or_without_noise():
    def gradients(*parts):
        parts = np.float32(parts)
        return {"bias": np.tile(parts[:, None], (1, 3)), "kernel": np.tile(parts[:, None, None], (1, 4, 5))}

    for parts, noisy, value in (((0, 0), False, 0), ((1, 1), False, 0), ((1, -1), True, np.inf)):
        for scale in scales_of(gradients(*parts), 4)[0].values():
            assert scale.value == value
            assert (scale.noise > 0) == noisy
            assert np.isfinite(scale.noise)
            assert np.isfinite(scale.signal)


def test_c4_is_the_ratio_of_gamma_functions():
    counts = np.arange(2, 101)
    ratios = [math.gamma(n / 2) / math.gamma((n - 1) / 2) for n in counts]
    expected = np.sqrt(2 / (counts - 1)) * ratios
    with jax.enable_x64(True):
        np.testing.assert_allclose(jax.jit(jax.vmap(c4))(counts), expected, rtol=1e-12)
    # a difference of logarithms of up to ln Γ(50) = 145, each rounded
    np.testing.assert_allclose(jax.jit(jax.vmap(c4))(counts), expected, rtol=145 * np.finfo(np.float32).eps)


def test_c4_of_many_parts_loses_nothing_to_cancellation():
    counts = np.array([20, 30, 100, 1_000, 100_000])
    logarithms = [math.lgamma(count / 2) - math.lgamma((count - 1) / 2) for count in counts]
    expected = np.sqrt(2 / (counts - 1)) * np.exp(logarithms)
    np.testing.assert_allclose(jax.jit(jax.vmap(c4))(counts), expected, rtol=5e-6)


@jax.jit
def corrected_scale(noise, signal):
    return NoiseScale(noise, signal, EUCLIDEAN).corrected(4, 3)


@pytest.mark.parametrize(("signal", "corrected"), [(5.0, 4.0), (2.0, 0.0)])
def test_the_signal_less_the_noise_in_it(signal, corrected):
    scale = corrected_scale(np.float32(6.0), np.float32(signal))
    np.testing.assert_allclose((scale.noise, scale.signal), (6, corrected), rtol=1e-6)


@functools.partial(jax.jit, static_argnums=(2, 3))
def average_of(noises, signals, *decays):
    """The value of the running average after each measurement."""

    def add(average, terms):
        average = average.add(NoiseScale(*terms, SIGN), *decays)
        return average, average.value

    return jax.lax.scan(add, NoiseAverage.init(), (noises, signals))[1]


def test_the_average_is_a_debiased_recursion():
    noises, signals = np.random.default_rng(6).uniform(0.5, 2, (2, 12))
    numerator, denominator, expected = 0.0, 0.0, []
    for t, (noise, signal) in enumerate(zip(noises, signals, strict=True), start=1):
        numerator = 0.8 * numerator + 0.2 * noise**2
        denominator = 0.5 * denominator + 0.5 * signal**2
        expected.append(numerator / (1 - 0.8**t) / (denominator / (1 - 0.5**t)))
    found = average_of(np.float32(noises), np.float32(signals), 0.8, 0.5)
    np.testing.assert_allclose(found, expected, rtol=FLOAT32)
    assert np.isnan(NoiseAverage.init().value)


@pytest.mark.parametrize(("noise", "signal", "value"), [(3, 2, 2.25), (0, 0, 0), (1, 0, np.inf)])
def test_the_average_of_a_constant_is_that_constant(noise, signal, value):
    noises, signals = np.full(5, noise, np.float32), np.full(5, signal, np.float32)
    np.testing.assert_allclose(average_of(noises, signals), value, rtol=1e-6)


@pytest.mark.parametrize("geometry", [EUCLIDEAN, SIGN, SPECTRAL])
def test_the_batch_size_for_a_gain_has_that_gain(geometry):
    fractions = np.array([0.1, 0.25, 0.5, 0.9], np.float32)

    @jax.jit
    def sizes_and_gains(noise, signal, fractions):
        scale = NoiseScale(noise, signal, geometry)
        sizes = scale.batch_size_for(fractions)
        return sizes, scale.relative_gain(sizes)

    sizes, gains = sizes_and_gains(np.float32(6.0), np.float32(2.0), fractions)  # nine examples
    np.testing.assert_allclose(gains, fractions, rtol=1e-5)
    expected = (3.0, 9.0) if geometry is EUCLIDEAN else (36.0, 9 / (1 - 0.5**0.5) ** 2)
    np.testing.assert_allclose(sizes[1:3], expected, rtol=1e-5)


def test_sign_and_spectral_gain_most_for_each_example_at_four_noise_scales():
    sizes = np.linspace(0.5, 12, 2301)
    scale = NoiseScale(jnp.float32(1.0), jnp.float32(1.0), SIGN)
    gains = np.asarray(jax.jit(scale.relative_gain)(np.float32(sizes)), np.float64)
    assert sizes[np.argmax(gains / sizes)] == pytest.approx(4, abs=0.05)
    assert np.all(gains[sizes <= 1] == 0)
    with jax.enable_x64(True):
        exact = NoiseScale(jnp.float64(1.0), jnp.float64(1.0), SIGN)
        bend = jax.jit(jax.grad(jax.grad(exact.relative_gain)))
        assert float(bend(16 / 9 - 1e-3)) > 0 > float(bend(16 / 9 + 1e-3))  # the inflection
