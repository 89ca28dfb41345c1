"""What holds of the polar factor by any method: exactness, equivariances, edge cases, dtypes and errors."""

import inspect
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from geometry import METHODS, SVD, NewtonSchulz, PolarExpress, polar, polar_method

# enough steps that every singular value above a tenth of the largest converges
CONVERGED = [SVD(), NewtonSchulz(steps=10, coefficients="convergent"), PolarExpress(steps=9)]
ALL = [SVD(), NewtonSchulz(), PolarExpress(steps=9)]
to_the_end = pytest.mark.parametrize("method", CONVERGED, ids=repr)
by_each_method = pytest.mark.parametrize("method", ALL, ids=repr)

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}  # ten to a hundred roundings, of 20 products or an SVD
# by which the methods multiply the smallest singular values: published coefficients, one step after the other
SLOPE_AT_ZERO = {
    SVD(): 0,
    NewtonSchulz(): 3.4445**5,
    PolarExpress(steps=9): math.prod([8.2872, 4.1071, 3.9487, 3.3184, 2.3007, 1.8913, 1.875, 1.875, 1.875]),
}
SPECTRUM = np.linspace(1, 0.2, 8)
SHAPES = [(8, 10), (20, 8)]  # iterated on directly, and on the Gram matrix from 8×12


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@to_the_end
def test_converges_to_numpys_polar_factor(method, rows, columns, dtype, of_spectrum, numpy_polar, jit_polar):
    x = of_spectrum(SPECTRUM, rows, columns).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        factor = jit_polar(x, method)
        assert factor.dtype == dtype
        np.testing.assert_allclose(factor, numpy_polar(x), rtol=0, atol=TOLERANCE[dtype])


def test_names_stand_for_the_methods_with_their_defaults():
    for name, method in (
        ("svd", SVD()),
        ("newton_schulz", NewtonSchulz(5)),
        ("polar_express", PolarExpress(5)),
    ):
        assert polar_method(name) == METHODS[name] == method
        assert polar_method(method) is method


def test_five_steps_of_polar_express_are_the_default(of_spectrum, jit_polar):
    x = np.float32(of_spectrum(SPECTRUM, 8, 10))
    np.testing.assert_allclose(jax.jit(polar)(x), jit_polar(x, PolarExpress(steps=5)), rtol=0, atol=2e-6)


@by_each_method
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_equivariances(method, rows, columns, of_spectrum, jit_polar):
    x = of_spectrum(SPECTRUM, rows, columns)
    left, right = (of_spectrum(np.ones(side), side, side, seed=5) for side in (rows, columns))
    turned = jit_polar(jnp.asarray(left @ x @ right, jnp.float32), method)
    transposed = np.asarray(jit_polar(jnp.asarray(x.T, jnp.float32), method))
    factor = np.asarray(jit_polar(jnp.asarray(x, jnp.float32), method))
    np.testing.assert_allclose(transposed.T, factor, rtol=0, atol=TOLERANCE[np.float32])
    np.testing.assert_allclose(turned, left @ factor @ right, rtol=0, atol=TOLERANCE[np.float32])


@by_each_method
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_scale_does_not_matter(method, rows, columns, of_spectrum, jit_polar):
    x = of_spectrum(SPECTRUM, rows, columns).astype(np.float32)
    factor = np.asarray(jit_polar(jnp.asarray(x), method))
    for scale in (1e-30, 1e30, -7):
        scaled = jit_polar(jnp.asarray(x * np.float32(scale)), method)
        np.testing.assert_allclose(scaled, np.sign(scale) * factor, rtol=0, atol=TOLERANCE[np.float32])


@by_each_method
def test_the_largest_floats_are_as_any_other(method, of_spectrum, jit_polar):
    x = of_spectrum(SPECTRUM, 8, 10).astype(np.float32)
    x = x / np.abs(x).max()
    largest = jit_polar(jnp.asarray(x * np.float32(3e38)), method)
    np.testing.assert_allclose(largest, jit_polar(jnp.asarray(x), method), rtol=0, atol=TOLERANCE[np.float32])


@by_each_method
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_two_leading_axes_are_a_batch_in_which_zero_stays_zero(method, rows, columns, of_spectrum, jit_polar):
    stack = np.stack([of_spectrum(SPECTRUM, rows, columns, seed) for seed in range(6)])
    stack *= np.array([1, 1e-10, 0, 1e20, 3, 1e-25])[:, None, None]
    stack = np.float32(stack.reshape(2, 3, rows, columns))
    factors = np.asarray(jit_polar(stack, method))
    for index in np.ndindex(2, 3):
        single = jit_polar(stack[index], method)
        np.testing.assert_allclose(factors[index], single, rtol=0, atol=TOLERANCE[np.float32])
    assert np.all(factors[0, 2] == 0)


@by_each_method
def test_rank_one_vectors_and_scalars(method, jit_polar):
    # one singular value, so the largest: 1 in the end, .6964 after the standard five steps (published)
    gain, tolerance = (0.6964, 5e-5) if method == NewtonSchulz() else (1, TOLERANCE[np.float32])
    for rows, columns in [(6, 9), (1, 9), (9, 1), (1, 1)]:
        u, v = (np.random.default_rng(side).standard_normal(side) for side in (rows, columns))
        factor = np.asarray(jit_polar(jnp.asarray(np.outer(u, v), jnp.float32), method), np.float64)
        rank_one = np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
        projection = np.sum(factor * rank_one)
        np.testing.assert_allclose(projection, gain, rtol=0, atol=tolerance)
        # in float32 the others are not zero but a rounding of the one, and grow as the slopes say
        roundings = 2 * np.finfo(np.float32).eps * SLOPE_AT_ZERO[method]
        assert np.linalg.norm(factor - projection * rank_one, 2) <= TOLERANCE[np.float32] + roundings


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_svd_of_low_rank_is_the_partial_isometry(rows, columns, dtype, of_spectrum, jit_polar):
    left_right = of_spectrum(np.ones(3), rows, columns, seed=2)  # the same singular vectors
    x = of_spectrum([5.0, 1.0, 0.1], rows, columns, seed=2).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        factor = jit_polar(jnp.asarray(x), SVD())
        # rounding of x moves the vectors of the value 0.1 by eps · 5 / 0.1
        np.testing.assert_allclose(factor, left_right, rtol=0, atol=TOLERANCE[dtype])


@by_each_method
@pytest.mark.parametrize("narrow", [jnp.bfloat16, jnp.float16])
def test_narrow_floats_are_as_exact_as_their_dtype(method, narrow, of_spectrum, jit_polar):
    x = of_spectrum(SPECTRUM, 20, 8).astype(narrow)
    factor = jit_polar(x, method)
    assert factor.dtype == narrow
    # iterated on in float32 and rounded once, entries of at most 1
    wide = jit_polar(x.astype(np.float32), method)
    atol = float(jnp.finfo(narrow).eps / 2)
    np.testing.assert_allclose(np.float32(factor), wide, rtol=0, atol=atol)


@pytest.mark.parametrize("method", [PolarExpress, NewtonSchulz])
@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (40, 16)])
def test_iterating_in_bfloat16(method, rows, columns, of_spectrum, numpy_polar, jit_polar):
    options = {"coefficients": "convergent"} if method is NewtonSchulz else {}
    x = of_spectrum(np.linspace(1, 0.3, 16), rows, columns).astype(np.float32)
    factor = jit_polar(jnp.asarray(x), method(steps=9, dtype="bfloat16", **options))
    assert factor.dtype == jnp.float32
    # four roundings of numbers up to 1 in the last step; in float32 it would be a thousand times better
    assert 1e-3 < np.max(np.abs(factor - numpy_polar(x))) < 4 * float(jnp.finfo(jnp.bfloat16).eps)


@pytest.mark.parametrize("method", [SVD(), NewtonSchulz()], ids=repr)
def test_compilation_changes_nothing(method, of_spectrum, jit_polar):
    x = jnp.asarray(of_spectrum(SPECTRUM, 8, 10), jnp.float32)
    np.testing.assert_allclose(polar(x, method), jit_polar(x, method), rtol=0, atol=2e-6)


def test_vectors_are_refused_with_their_shape():
    with pytest.raises(ValueError, match=r"must be a matrix or a stack of them, got shape \(3,\)"):
        inspect.unwrap(polar)(np.ones(3, np.float32))  # without the type checks of the test run


@by_each_method
def test_integers_are_refused(method):
    with pytest.raises(TypeError):
        polar(jnp.ones((2, 3), jnp.int32), method)


def test_unknown_method_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"one of \['svd', 'newton_schulz', 'polar_express'\], got 'cubic'"):
        polar(jnp.ones((2, 2)), "cubic")


def five_standard_steps(x):
    """By the published polynomial of every singular value over the Frobenius norm."""
    u, s, vt = np.linalg.svd(np.float64(x), full_matrices=False)
    s /= np.linalg.norm(s)
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ vt


@pytest.mark.parametrize("method", [NewtonSchulz(), PolarExpress(steps=9)], ids=repr)
def test_shards_of_the_long_side_make_the_same_factor_at_any_scale(method, of_spectrum, numpy_polar):
    x = of_spectrum(SPECTRUM, 8, 40).astype(np.float32)
    stack = np.stack([x, 1e-30 * x, 1e30 * x, 0 * x])
    mesh = jax.make_mesh((8,), ("columns",), axis_types=(AxisType.Auto,))
    spec = PartitionSpec(None, None, "columns")
    compute = jax.shard_map(
        lambda part: method.factor_of_shards(part, "columns"), mesh=mesh, in_specs=spec, out_specs=spec
    )
    factors = np.asarray(jax.jit(compute)(stack))
    expected = five_standard_steps(x) if method == NewtonSchulz() else numpy_polar(x)
    for factor in factors[:3]:
        np.testing.assert_allclose(factor, expected, rtol=0, atol=TOLERANCE[np.float32])
    np.testing.assert_array_equal(factors[3], 0)


def test_one_gram_matrix_is_summed_for_five_steps_and_none_in_a_narrow_dtype():
    assert [PolarExpress(steps).gram_sums for steps in (1, 5, 6)] == [1, 1, 2]
    assert PolarExpress(dtype=jnp.bfloat16).gram_sums == 0
