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


@functools.cache
def mapped(function):
    return jax.jit(jax.vmap(function))


def one_by_one(function, x, dtype=np.float32):
    return np.asarray(mapped(function)(jnp.asarray(x, dtype)))


@pytest.mark.parametrize("dtype", TOLERANCE)
@named
def test_norms_and_directions_are_numpys(geometry, gradients, dtype):
    with jax.enable_x64(dtype == np.float64):
        for ours, reference in zip(
            (geometry.norm, geometry.dual, geometry.direction), REFERENCES[geometry.name], strict=True
        ):
            expected = np.stack([reference(x) for x in gradients])
            got = one_by_one(ours, gradients, dtype)
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@named
@pytest.mark.parametrize("transposed", [False, True])
def test_direction_has_norm_one_and_gains_the_dual_norm(geometry, gradients, transposed):
    gradients = gradients.mT if transposed else gradients
    direction = one_by_one(geometry.direction, gradients)
    gain = np.sum(gradients * direction, axis=(-2, -1), dtype=np.float64)
    np.testing.assert_allclose(gain, one_by_one(geometry.dual, gradients), rtol=TOLERANCE[np.float32])
    np.testing.assert_allclose(one_by_one(geometry.norm, direction), 1, rtol=TOLERANCE[np.float32])


@named
def test_no_step_gains_more_than_dual_times_norm(geometry, gradients):
    rng = np.random.default_rng(2)
    gradients = np.repeat(gradients, 25, axis=0)
    ranks = rng.integers(1, 7, len(gradients))
    steps = np.stack([rng.standard_normal((6, r)) @ rng.standard_normal((r, 9)) for r in ranks])
    # some near the best step, where the bound is nearly tight
    mixed = rng.uniform(size=(len(steps), 1, 1)) ** 8
    steps = mixed * steps + (1 - mixed) * one_by_one(geometry.direction, gradients)
    gain = np.abs(np.sum(gradients * steps, axis=(-2, -1)))
    bound = one_by_one(geometry.dual, gradients) * one_by_one(geometry.norm, steps)
    assert np.all(gain <= bound * (1 + TOLERANCE[np.float32]))
    assert np.max(gain / bound) > 0.99


@pytest.mark.parametrize("rank", [1, 2, 3, 5, 6])
def test_ky_fan_norm_is_the_dual_of_its_dual(rank, gradients):
    # sup ⟨x, d⟩ over dual(d) ≤ 1 is reached on x's own singular vectors: a linear program in d's values
    decreasing = np.eye(6, k=1)[:5] - np.eye(6)[:5]
    budget = (np.arange(6) < rank).astype(float)
    for x in gradients[:6]:
        best = linprog(
            -singular_values(x), A_ub=np.vstack([decreasing, budget]), b_ub=np.append(np.zeros(5), 1)
        )
        norm = ky_fan(rank).norm(jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(norm, -best.fun, rtol=TOLERANCE[np.float32])


@pytest.mark.parametrize("rank", [6, 50])
def test_ky_fan_of_full_rank_is_spectral(rank, gradients):
    x = jnp.asarray(gradients, jnp.float32)
    for name in ("norm", "dual", "direction"):
        np.testing.assert_allclose(
            getattr(ky_fan(rank), name)(x), getattr(SPECTRAL, name)(x), rtol=1e-6, atol=1e-6
        )


def test_direction_leaves_out_what_a_low_rank_lacks(of_spectrum):
    x = of_spectrum([2.0, 1.0], 6, 9, seed=3)
    for geometry in (SPECTRAL, ky_fan(3)):
        direction = geometry.direction(jnp.asarray(x, jnp.float32))
        np.testing.assert_allclose(direction, leading(x, 2), rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3, 4, 2)])
def test_euclidean_and_sign_take_any_shape_as_one_vector(shape):
    x = np.asarray(np.random.default_rng(4).standard_normal(shape), np.float32)
    for geometry, order, dual_order in ((EUCLIDEAN, 2, 2), (SIGN, np.inf, 1)):
        computed = jax.jit(lambda x, g=geometry: (g.norm(x), g.dual(x), g.direction(x)))(x)
        norm, dual = (np.linalg.norm(np.float64(x).ravel(), o) for o in (order, dual_order))
        expected = norm, dual, x / norm if geometry is EUCLIDEAN else np.sign(x)
        for value, reference in zip(computed, expected, strict=True):
            np.testing.assert_allclose(value, reference, rtol=1e-6)


@pytest.mark.parametrize("geometry", GEOMETRIES[2:], ids=lambda geometry: geometry.name)
def test_leading_axes_are_a_batch(geometry, gradients):
    stack = jnp.asarray(gradients[:6], jnp.float32).reshape(2, 3, 6, 9)
    for name, reference in zip(("norm", "dual", "direction"), REFERENCES[geometry.name], strict=True):
        expected = np.array([[reference(x) for x in row] for row in np.asarray(stack, np.float64)])
        np.testing.assert_allclose(getattr(geometry, name)(stack), expected, rtol=2e-5, atol=2e-5)


@named
def test_zero_has_norm_zero_and_direction_zero(geometry, gradients):
    x = np.stack([np.zeros((6, 9)), gradients[0]])
    for function in (geometry.norm, geometry.dual, geometry.direction):
        of_zero, of_other = one_by_one(function, x)
        assert np.all(of_zero == 0)
        assert np.any(of_other != 0)


@named
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_huge_and_tiny_gradients_are_as_any_other(geometry, gradients, scale):
    x = np.float32(gradients[0] / np.abs(gradients[0]).max())
    norm, dual, direction = (reference(np.float64(x)) for reference in REFERENCES[geometry.name])
    scaled = jnp.asarray(x * np.float32(scale))
    np.testing.assert_allclose(geometry.norm(scaled) / np.float64(scale), norm, rtol=2e-5)
    np.testing.assert_allclose(geometry.dual(scaled) / np.float64(scale), dual, rtol=2e-5)
    np.testing.assert_allclose(geometry.direction(scaled), direction, rtol=0, atol=2e-5)


@named
def test_direction_of_the_largest_floats(geometry, gradients):
    x = np.float32(gradients[0] / np.abs(gradients[0]).max())
    got, expected = geometry.direction(jnp.asarray(x * np.float32(3e38))), REFERENCES[geometry.name][2](x)
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5)


@named
def test_bfloat16_directions_stay_bfloat16_and_norms_are_float32(geometry, gradients):
    x = jnp.asarray(gradients[1], jnp.bfloat16)
    norm, dual, direction = (r(np.asarray(x, np.float64)) for r in REFERENCES[geometry.name])
    for got, expected in ((geometry.norm(x), norm), (geometry.dual(x), dual)):
        assert got.dtype == jnp.float32
        np.testing.assert_allclose(got, expected, rtol=TOLERANCE[np.float32])
    got = geometry.direction(x)
    assert got.dtype == jnp.bfloat16
    # entries of at most 1, rounded once: half an epsilon
    np.testing.assert_allclose(got.astype(np.float32), direction, rtol=0, atol=2**-8)


@named
def test_integers_are_refused(geometry):
    x = jnp.ones((6, 9), jnp.int32)
    functions = [geometry.norm, geometry.dual]
    for function in functions if geometry is SIGN else [*functions, geometry.direction]:
        with pytest.raises(TypeError):
            function(x)


def test_widening_names_the_dtype_it_refuses():
    with pytest.raises(TypeError, match="real floating dtype, got int32"):
        inspect.unwrap(widened)(jnp.ones(2, jnp.int32))  # without the type checks of the test run


@pytest.mark.parametrize("rank", [0, -2])
def test_ky_fan_needs_a_positive_rank(rank):
    with pytest.raises(ValueError, match=f"rank must be at least 1, got {rank}"):
        ky_fan(rank)


@pytest.mark.parametrize(
    "geometry", [EUCLIDEAN, SIGN, SPECTRAL, ky_fan(3)], ids=lambda geometry: geometry.name
)
@pytest.mark.parametrize("shape", [(4, 5), (64, 64), (70, 64, 2)])
def test_what_holds_nan_has_no_norm(geometry, shape):
    # from 4,096 numbers on, XLA's own maximum drops NaNs on a CPU
    for holder in (jnp.zeros(shape).at[(1,) * len(shape)].set(jnp.nan), jnp.full(shape, jnp.nan)):
        for norm in (jax.jit(geometry.norm), jax.jit(geometry.dual)):
            assert np.isnan(norm(holder)).any()
