"""What is measured of data times c, for every c that float32 holds: the same number, or c times it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import (
    EUCLIDEAN,
    SIGN,
    SPECTRAL,
    Moments,
    NoiseAverage,
    NoiseScale,
    curvature_index,
    hutchinson_trace,
    noise_scale,
    path_geometry,
    spec_sign_index,
    takeuchi_blocks,
    takeuchi_diagonal,
    takeuchi_exact,
    takeuchi_trace_ratio,
)
from geometry.norms import Geometry

FACTORS = np.float32([1e-30, 1e-20, 1e-19, 1e-8, 1e8, 1e19, 1e20, 1e30])
PARTS = 4
NOISE_GEOMETRIES = (EUCLIDEAN, SIGN, SPECTRAL)
SHAPES = {"kernel": (6, 5), "bias": (7,), "other": (5, 6)}
RNG = np.random.default_rng(0)
GRADIENTS = {leaf: np.float32(0.5 + RNG.normal(size=(PARTS, *shape))) for leaf, shape in SHAPES.items()}


def times(factor, tree=GRADIENTS):
    return jax.tree.map(lambda g: np.float32(factor) * g, tree)


def running(part_gradients):
    moments = Moments.init(jax.tree.map(lambda g: g[0], part_gradients))
    return jax.lax.scan(lambda moments, g: (moments.add(g), None), moments, part_gradients)[0]


def numpy_noise(geometry: Geometry):
    """The scale of the tree in float64; EUCLIDEAN, SIGN and SPECTRAL with the bias counted by sign."""
    factor, noise, signal = 12 / (PARTS - 1) / PARTS, 0.0, 0.0
    for g in GRADIENTS.values():
        mean, gaps = np.float64(g).mean(0), np.float64(g) - np.float64(g).mean(0)
        variance = factor * np.sum(gaps**2, axis=0)
        if geometry is EUCLIDEAN:
            noise, signal = np.hypot(noise, np.sqrt(variance.sum())), np.hypot(signal, np.linalg.norm(mean))
        elif geometry is SIGN or mean.ndim == 1:
            noise, signal = noise + np.sqrt(variance).sum(), signal + np.abs(mean).sum()
        else:
            gaps, mean = (x.mT if mean.shape[0] > mean.shape[1] else x for x in (gaps, mean))
            roots = np.linalg.eigvalsh(factor * np.sum(gaps @ gaps.mT, axis=0)).clip(0) ** 0.5
            noise, signal = noise + roots.sum(), signal + np.linalg.svd(mean)[1].sum()
    return (noise / signal) ** 2


@jax.jit
def noise_values(parts):
    """(of the stack, of the running moments) under each geometry, and the corrected one of the stack."""
    values = [
        (noise_scale(parts, 12, geometry).value, running(parts).estimate(12, geometry).value)
        for geometry in NOISE_GEOMETRIES
    ]
    return values, noise_scale(parts, 12, EUCLIDEAN, corrected=True).value


def test_noise_scales_are_those_of_numpy_at_every_scale():
    for factor in (1, *FACTORS):
        for geometry, forms in zip(NOISE_GEOMETRIES, noise_values(times(factor))[0], strict=True):
            for value in forms:
                # the trace of a root is good to 1e-3 where eigenvalues vanish
                assert value == pytest.approx(numpy_noise(geometry), rel=2e-3), (geometry.name, factor)


def test_the_unbiased_signal_is_the_same_at_every_scale():
    plain = numpy_noise(EUCLIDEAN)
    for factor in (1, *FACTORS):
        assert noise_values(times(factor))[1] == pytest.approx(plain / (1 - plain / 12), rel=1e-4)


def test_parts_and_leaves_of_very_different_scales_are_kept_apart():
    # the deviations of one leaf are 1e24 times those of the other, and grow by 1e12 from part to part
    growing = np.float32([0, 1e-12, 1, 1e12])[:, None]
    parts = {"large": np.float32(1e12) * growing, "small": np.float32(1e-12) * growing}
    forms = (Moments.of, running)
    estimates = jax.jit(lambda parts: [form(parts).estimate_leaves(4, EUCLIDEAN) for form in forms])(parts)
    for leaves in estimates:
        for leaf, scale in leaves.items():
            exact = np.float64(parts[leaf])
            assert scale.noise == pytest.approx(np.sqrt(4 * exact.var(ddof=1) / 4), rel=1e-5)


def test_bad_parts_are_no_silence():
    for bad in (np.nan, np.inf):
        parts = jax.tree.map(np.copy, GRADIENTS)
        for part in parts.values():
            part[(1,) + (0,) * (part.ndim - 1)] = bad
        assert not np.isfinite(noise_values(parts)[0]).any()


@jax.jit
def averages(noises, signals):
    average = NoiseAverage.init()
    for noise, signal in zip(noises, signals, strict=True):
        average = average.add(NoiseScale(noise, signal, SIGN))
    return average.value, average.noise


def test_averages_of_noise_and_signal_are_the_same_at_every_scale():
    noises, signals = RNG.uniform(1, 3, (2, 5))
    weights = np.cumprod([0.1, *[0.9] * 4])[::-1]
    expected = (weights @ noises**2) / (weights @ signals**2)
    for factor in (1, *FACTORS):
        value, noise = averages(np.float32(factor * noises), np.float32(factor * signals))
        assert value == pytest.approx(expected, rel=1e-5)
        assert noise == pytest.approx(factor * np.sqrt(weights @ noises**2), rel=1e-5)


def test_indices_are_the_same_at_every_scale():
    g = RNG.normal(size=(6, 6))
    u, _, vt = np.linalg.svd(g)
    curvatures = np.linspace(0.5, 2, 36).reshape(6, 6)
    gains = [np.sum(g * d) ** 2 / np.sum(curvatures * d**2) for d in (u @ vt, np.sign(g))]

    @jax.jit
    def indices(noises, signal, gradient, curvature):
        scales = (NoiseScale(noise, signal, SIGN) for noise in noises)
        measured = curvature_index(gradient, functools.partial(jnp.multiply, curvature))
        return spec_sign_index(*scales, 16), measured[""]

    for factor in (1, *FACTORS):
        # a loss times c has its gradient and its curvature times c
        noises = np.float32(factor), np.float32(2 * factor)
        index, measured = indices(noises, noises[0], np.float32(factor * g), np.float32(factor * curvatures))
        assert index == pytest.approx(2 * np.log(0.75 / 0.5), rel=1e-5)
        assert measured == pytest.approx(np.log(gains[0] / gains[1]), abs=1e-3)


def test_information_is_as_many_times_larger_as_the_loss():
    g, h = RNG.normal(size=(9, 4)), np.array([1.0, 2.0, 3.0, 4.0])
    moments = np.mean(np.float32(g) ** 2, axis=0)
    expected = np.sum(moments / h), np.sum(moments / h), np.sum(moments / h), moments.sum() / h.sum()

    @jax.jit
    def criteria(gradients, curvature):
        return (
            takeuchi_exact(jnp.diag(curvature), gradients),
            takeuchi_blocks([jnp.diag(curvature)], [gradients]),
            takeuchi_diagonal(curvature, gradients),
            takeuchi_trace_ratio(jnp.sum(curvature), gradients),
        )

    for factor in (1, *FACTORS):
        found = criteria(*(np.float32(factor * x) for x in (g, h)))
        np.testing.assert_allclose(np.float64(found) / factor, expected, rtol=1e-4)


@pytest.mark.parametrize("curvature", [np.nan, [[np.nan, 1.0], [1.0, 1.0]]])
def test_information_of_unknown_curvature_is_unknown(curvature):
    gradients = jnp.ones((3, 2))
    if np.ndim(curvature):
        assert np.isnan(takeuchi_exact(jnp.asarray(curvature), gradients))
    else:
        assert np.isnan(takeuchi_diagonal(jnp.asarray([curvature, 1.0]), gradients))
        assert np.isnan(takeuchi_trace_ratio(jnp.asarray(curvature), gradients))


def test_errors_of_probes_are_as_many_times_larger_as_the_curvature():
    matrix = RNG.normal(size=(5, 5))
    matrix += matrix.T

    @jax.jit
    def error(curvature):
        product = functools.partial(jnp.matmul, curvature)
        return hutchinson_trace(product, jnp.zeros(5), jax.random.key(0), 16).standard_error

    keys = jax.random.split(jax.random.key(0), 16)
    signs = np.asarray(jax.vmap(lambda key: jax.random.rademacher(key, (5,), jnp.float32))(keys), float)
    expected = np.einsum("pi,ij,pj->p", signs, matrix, signs).std(ddof=1) / 4
    for factor in (1, *FACTORS):
        assert error(np.float32(factor * matrix)) / factor == pytest.approx(expected, rel=1e-4)


def test_a_path_of_unknown_parameters_is_unknown():
    found = path_geometry(jnp.ones(3), jnp.array([1.0, jnp.nan, 2.0]), jnp.zeros(3))
    assert np.isnan(found).all()
