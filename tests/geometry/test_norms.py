"""The norms, their duals and their directions, against NumPy in float64 and against what defines them."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from geometry import EUCLIDEAN, SIGN, SPECTRAL, ky_fan
from geometry.precision import widened

GEOMETRIES = [EUCLIDEAN, SIGN, SPECTRAL, ky_fan(1), ky_fan(3)]
named = pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: geometry.name)

# sums of up to 54 rounded terms, and singular vectors whose gaps are at least a 20th of the norm
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-13}


def leading(x, rank):
    u, _, vt = np.linalg.svd(x)
    return u[:, :rank] @ vt[:rank]


singular_values = functools.partial(np.linalg.svd, compute_uv=False)
largest, nuclear = (functools.partial(np.linalg.norm, ord=order) for order in (2, "nuc"))

REFERENCES = {  # norm, dual, direction of a 6×9 matrix
    "euclidean": (np.linalg.norm, np.linalg.norm, lambda x: x / np.linalg.norm(x)),
    "sign": (lambda x: np.abs(x).max(), lambda x: np.abs(x).sum(), np.sign),
    "spectral": (largest, nuclear, lambda x: leading(x, 6)),
    "ky_fan(1)": (nuclear, largest, lambda x: leading(x, 1)),
    "ky_fan(3)": (
        lambda x: max(largest(x), nuclear(x) / 3),
        lambda x: singular_values(x)[:3].sum(),
        lambda x: leading(x, 3),
    ),
}


@pytest.fixture(scope="module")
def gradients(of_spectrum):
    """Forty 6×9 matrices with gaps between their singular values; the first far ahead in every other."""
    rng = np.random.default_rng(1)
    gaps = rng.uniform(0.3, 1, (40, 6))
    gaps[::2, 0] += 8
    return np.stack([of_spectrum(np.cumsum(g[::-1])[::-1], 6, 9, seed) for seed, g in enumerate(gaps)])


def functions(geometry, x):
    return geometry.norm(x), geometry.dual(x), geometry.direction(x)


@functools.cache
def mapped(geometry):
    return jax.jit(jax.vmap(functools.partial(functions, geometry)))


def one_by_one(geometry, x, dtype=np.float32):
    """(norms, duals, directions), by one program for each geometry, shape and dtype."""
    return tuple(map(np.asarray, mapped(geometry)(np.asarray(x, dtype))))


def references(geometry, x):
    """The same by NumPy."""
    return tuple(np.stack([reference(matrix) for matrix in x]) for reference in REFERENCES[geometry.name])


def of_largest_entry(gradients):
    return np.float32(gradients / np.abs(gradients).max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("dtype", TOLERANCE)
@named
def test_norms_and_directions_are_numpys(geometry, gradients, dtype):
    with jax.enable_x64(dtype == np.float64):
        computed = one_by_one(geometry, gradients, dtype)
        for got, expected in zip(computed, references(geometry, gradients), strict=True):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@named
@pytest.mark.parametrize("transposed", [False, True])
def test_direction_has_norm_one_and_gains_the_dual_norm(geometry, gradients, transposed):
    gradients = gradients.mT if transposed else gradients
    _, dual, direction = one_by_one(geometry, gradients)
    gain = np.sum(gradients * direction, axis=(-2, -1), dtype=np.float64)
    np.testing.assert_allclose(gain, dual, rtol=TOLERANCE[np.float32])
    np.testing.assert_allclose(one_by_one(geometry, direction)[0], 1, rtol=TOLERANCE[np.float32])


@named
def test_no_step_gains_more_than_dual_times_norm(geometry, gradients):
    rng = np.random.default_rng(2)
    _, dual, direction = (np.tile(x, (25,) + (1,) * (x.ndim - 1)) for x in one_by_one(geometry, gradients))
    gradients = np.tile(gradients, (25, 1, 1))
    ranks = rng.integers(1, 7, len(gradients))
    steps = np.stack([rng.standard_normal((6, r)) @ rng.standard_normal((r, 9)) for r in ranks])
    # some near the best step, where the bound is nearly tight
    mixed = rng.uniform(size=(len(steps), 1, 1)) ** 8
    steps = mixed * steps + (1 - mixed) * direction
    gain = np.abs(np.sum(gradients * steps, axis=(-2, -1)))
    bound = dual * np.concatenate([one_by_one(geometry, part)[0] for part in np.split(steps, 25)])
    assert np.all(gain <= bound * (1 + TOLERANCE[np.float32]))
    assert np.max(gain / bound) > 0.99


def test_ky_fan_norm_is_the_dual_of_its_dual(gradients):
    # sup ⟨x, d⟩ over dual(d) ≤ 1 is reached on x's own singular vectors: a linear program in d's values
    decreasing = np.eye(6, k=1)[:5] - np.eye(6)[:5]
    ranks, matrices = (1, 2, 3, 5, 6), gradients[:6]
    norms = jax.jit(lambda x: [ky_fan(rank).norm(x) for rank in ranks])(np.float32(matrices))
    for rank, of_rank in zip(ranks, norms, strict=True):
        budget = (np.arange(6) < rank).astype(float)
        for x, norm in zip(matrices, of_rank, strict=True):
            best = linprog(
                -singular_values(x), A_ub=np.vstack([decreasing, budget]), b_ub=np.append(np.zeros(5), 1)
            )
            np.testing.assert_allclose(norm, -best.fun, rtol=TOLERANCE[np.float32], err_msg=f"rank {rank}")


def test_ky_fan_of_full_rank_is_spectral(gradients):
    for rank in (6, 50):
        for full, spectral in zip(
            one_by_one(ky_fan(rank), gradients), one_by_one(SPECTRAL, gradients), strict=True
        ):
            np.testing.assert_allclose(full, spectral, rtol=1e-6, atol=1e-6, err_msg=f"rank {rank}")


def test_direction_leaves_out_what_a_low_rank_lacks(of_spectrum):
    x = of_spectrum([2.0, 1.0], 6, 9, seed=3)
    for geometry in (SPECTRAL, GEOMETRIES[4]):
        _, _, directions = one_by_one(geometry, np.stack([x] * 40))
        np.testing.assert_allclose(directions[0], leading(x, 2), rtol=0, atol=2e-6)


def test_euclidean_and_sign_take_any_shape_as_one_vector():
    rng, orders = np.random.default_rng(4), ((EUCLIDEAN, 2, 2), (SIGN, np.inf, 1))
    arrays = [np.asarray(rng.standard_normal(shape), np.float32) for shape in ((), (5,), (2, 3, 4, 2))]
    computed = jax.jit(lambda xs: [[functions(geometry, x) for geometry, _, _ in orders] for x in xs])(arrays)
    for x, by_geometry in zip(arrays, computed, strict=True):
        for values, (geometry, *pair) in zip(by_geometry, orders, strict=True):
            norm, dual = (np.linalg.norm(np.float64(x).ravel(), order) for order in pair)
            expected = norm, dual, x / norm if geometry is EUCLIDEAN else np.sign(x)
            for value, reference in zip(values, expected, strict=True):
                np.testing.assert_allclose(value, reference, rtol=1e-6, err_msg=f"{geometry.name} {x.shape}")


@pytest.mark.parametrize("geometry", GEOMETRIES[2:], ids=lambda geometry: geometry.name)
def test_leading_axes_are_a_batch(geometry, gradients):
    flat = np.float32(gradients[:6])
    computed = jax.jit(functools.partial(functions, geometry))(flat.reshape(2, 3, 6, 9))
    for got, expected in zip(computed, references(geometry, np.float64(flat)), strict=True):
        shaped = expected.reshape(2, 3, *expected.shape[1:])
        np.testing.assert_allclose(got, shaped, rtol=2e-5, atol=2e-5)


@named
def test_zero_has_norm_zero_and_direction_zero(geometry, gradients):
    x = np.concatenate([np.zeros((1, 6, 9)), gradients[1:]])
    for value in one_by_one(geometry, x):
        assert np.all(value[0] == 0)
        assert np.all(np.any(value[1:].reshape(39, -1) != 0, axis=1))


@named
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_huge_and_tiny_gradients_are_as_any_other(geometry, gradients, scale):
    x = of_largest_entry(gradients)
    norm, dual, direction = references(geometry, np.float64(x))
    *norms, directions = one_by_one(geometry, x * np.float32(scale))
    np.testing.assert_allclose(norms[0] / np.float64(scale), norm, rtol=2e-5)
    np.testing.assert_allclose(norms[1] / np.float64(scale), dual, rtol=2e-5)
    np.testing.assert_allclose(directions, direction, rtol=0, atol=2e-5)


@named
def test_direction_of_the_largest_floats(geometry, gradients):
    x = of_largest_entry(gradients)
    _, _, directions = one_by_one(geometry, x * np.float32(3e38))
    np.testing.assert_allclose(directions, references(geometry, x)[2], rtol=0, atol=2e-5)


@named
def test_bfloat16_directions_stay_bfloat16_and_norms_are_float32(geometry, gradients):
    x = gradients.astype(jnp.bfloat16)
    *norms, direction = one_by_one(geometry, x, jnp.bfloat16)
    *expected_norms, expected_direction = references(geometry, np.float64(x))
    for got, expected in zip(norms, expected_norms, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=TOLERANCE[np.float32])
    assert direction.dtype == jnp.bfloat16
    # entries of at most 1, rounded once: half an epsilon
    np.testing.assert_allclose(direction.astype(np.float32), expected_direction, rtol=0, atol=2**-8)


@named
def test_integers_are_refused(geometry):
    x = jnp.ones((6, 9), jnp.int32)
    refusing = [geometry.norm, geometry.dual]
    for function in refusing if geometry is SIGN else [*refusing, geometry.direction]:
        with pytest.raises(TypeError):
            function(x)


def test_widening_names_the_dtype_it_refuses():
    with pytest.raises(TypeError, match="real floating dtype, got int32"):
        inspect.unwrap(widened)(np.ones(2, np.int32))  # without the type checks of the test run


@pytest.mark.parametrize("rank", [0, -2])
def test_ky_fan_needs_a_positive_rank(rank):
    with pytest.raises(ValueError, match=f"rank must be at least 1, got {rank}"):
        ky_fan(rank)


@pytest.mark.parametrize("shape", [(4, 5), (64, 64), (70, 64, 2)])
def test_what_holds_nan_has_no_norm(shape):
    geometries = [EUCLIDEAN, SIGN, SPECTRAL, GEOMETRIES[4]]
    norms = jax.jit(lambda x: [(geometry.norm(x), geometry.dual(x)) for geometry in geometries])
    single, everywhere = np.zeros(shape, np.float32), np.full(shape, np.nan, np.float32)
    single[(1,) * len(shape)] = np.nan
    # from 4,096 numbers on, XLA's own maximum drops NaNs on a CPU
    for holder in (single, everywhere):
        for geometry, pair in zip(geometries, norms(holder), strict=True):
            assert all(np.isnan(norm).any() for norm in pair), geometry.name
