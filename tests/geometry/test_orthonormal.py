"""Orthonormal factors of tall matrices against NumPy and SciPy, where Cholesky is safe and where not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from geometry.orthonormal import cholesky_qr, polar_columns, range_basis, signed_qr

LONG, RANK = 40, 6
compiled = {  # quickly rather than well
    f: jax.jit(f, compiler_options={"xla_backend_optimization_level": 0})
    for f in (cholesky_qr, polar_columns, range_basis, signed_qr)
}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def roundings(dtype, count=30):
    """So many epsilons: sums of 40 products, a few times over, add their roundings like a random walk."""
    return count * float(np.finfo(dtype).eps)


def run(function, a):
    with jax.enable_x64(a.dtype == np.float64):
        return jax.tree.map(np.asarray, compiled[function](jnp.asarray(a)))


def numpy_qr(a):
    q, r = np.linalg.qr(a.astype(np.float64))
    signs = np.sign(np.diagonal(r, axis1=-2, axis2=-1))
    return q * signs[:, None, :], r * signs[:, :, None]


def assert_orthonormal(q, dtype):
    gram = q.mT.astype(np.float64) @ q
    identity = np.broadcast_to(np.eye(gram.shape[-1]), gram.shape)
    np.testing.assert_allclose(gram, identity, rtol=0, atol=roundings(dtype, 20))


@pytest.fixture(scope="module")
def sound_stack(of_spectrum):
    """Six matrices of full rank, of condition number up to ten and of every scale."""
    scales = [1, 1e30, 1e-30, 1e-3, -20, 1]
    conditions = [1, 3, 10, 10, 2, 10]
    return np.stack(
        [
            scale * of_spectrum(np.linspace(1, 1 / condition, RANK), LONG, RANK, seed)
            for seed, (scale, condition) in enumerate(zip(scales, conditions, strict=True))
        ]
    )


@pytest.fixture(scope="module")
def deficient_stack(of_spectrum):
    """A repeated column, a column of zeros, ranks 2 and 5, all zeros, and a sound one amid them."""
    full = of_spectrum(np.linspace(1, 0.3, RANK), LONG, RANK, seed=10)
    repeated, with_zero = full.copy(), full.copy()
    repeated[:, 4] = repeated[:, 1]
    with_zero[:, 2] = 0
    low, lower = (
        of_spectrum(values, LONG, RANK, seed=11) for values in (np.linspace(3, 1, 5), [1e20, 0.5e20])
    )
    return np.stack([repeated, with_zero, full, low, lower, np.zeros((LONG, RANK))])


SOUND_ONE = 2
RANKS = [5, 5, 6, 5, 2, 0]


@dtypes
def test_cholesky_qr_and_signed_qr_are_numpys_with_a_positive_diagonal(dtype, sound_stack):
    a = sound_stack.astype(dtype)
    q, r = numpy_qr(a)
    ours = run(cholesky_qr, a)
    assert ours.sound.all()
    np.testing.assert_allclose(ours.q, q, rtol=0, atol=roundings(dtype))
    lengths = np.linalg.norm(r, axis=-2, keepdims=True)
    np.testing.assert_allclose(ours.r / lengths, r / lengths, rtol=0, atol=roundings(dtype))
    np.testing.assert_allclose(run(signed_qr, a), q, rtol=0, atol=roundings(dtype))


@dtypes
@pytest.mark.parametrize("decades", [9, 20])
def test_lengths_of_columns_do_not_matter(decades, dtype, sound_stack):
    lengths = np.logspace(-decades, decades, RANK)
    orders = [lengths, lengths[::-1], lengths[[3, 0, 5, 1, 4, 2]]] * 2
    a = (sound_stack / np.abs(sound_stack).max((1, 2), keepdims=True)).astype(dtype)
    q, r = numpy_qr(a)  # to stretch the columns of A is to stretch those of R
    stretched = (a * np.stack(orders)[:, None, :]).astype(dtype)
    ours = run(cholesky_qr, stretched)
    assert ours.sound.all()
    np.testing.assert_allclose(ours.q, q, rtol=0, atol=roundings(dtype))
    unstretched = ours.r / np.stack(orders)[:, None, :]
    np.testing.assert_allclose(unstretched, r, rtol=0, atol=roundings(dtype))
    np.testing.assert_allclose(run(signed_qr, stretched), q, rtol=0, atol=roundings(dtype))


@dtypes
def test_range_basis_hears_columns_down_to_the_rounding_errors_of_the_longest(dtype, sound_stack):
    a = (sound_stack / np.abs(sound_stack).max((1, 2), keepdims=True)).astype(dtype)
    short = 1e-3 if dtype == np.float32 else 1e-10  # 1e4 times rounding error and more
    heard = (a * np.array([1, short, 1, short, 1, 1])).astype(dtype)
    np.testing.assert_allclose(run(range_basis, heard), numpy_qr(a)[0], rtol=0, atol=roundings(dtype))
    noise = (a * np.array([1, 1, 1, 1, 1, np.finfo(dtype).eps])).astype(dtype)
    basis = np.asarray(run(range_basis, noise), np.float64)
    kept, _ = numpy_qr(a[..., :-1])
    projector = kept @ np.swapaxes(kept, 1, 2)
    np.testing.assert_allclose(
        basis @ np.swapaxes(basis, 1, 2), projector, rtol=0, atol=roundings(dtype, 300)
    )


# twelve decades about the documented ends, 1e3 and 1e7
@pytest.mark.parametrize(("dtype", "reach"), [(np.float32, 1e3), (np.float64, 1e7)])
def test_soundness_reaches_as_far_as_documented_and_means_orthonormal(dtype, reach, of_spectrum):
    conditions = reach * 10.0 ** np.arange(-6, 6)
    stack = [of_spectrum(np.logspace(0, -np.log10(max(c, 1)), RANK), LONG, RANK, seed=3) for c in conditions]
    for part in (slice(0, 6), slice(6, 12)):
        a = np.stack(stack[part]).astype(dtype)
        ours = run(cholesky_qr, a)
        assert ours.sound[conditions[part] < reach].all()
        assert not ours.sound[conditions[part] > 1e4 * reach].any()
        sound = ours.q[ours.sound]
        assert_orthonormal(sound, dtype)
        np.testing.assert_allclose(sound @ ours.r[ours.sound], a[ours.sound], rtol=0, atol=roundings(dtype))


@dtypes
def test_dependent_columns_are_unsound(dtype, deficient_stack):
    sound = run(cholesky_qr, deficient_stack.astype(dtype)).sound
    assert sound.tolist() == [rank == RANK for rank in RANKS]


@dtypes
def test_range_basis_spans_the_columns_and_no_more(dtype, deficient_stack, sound_stack):
    for stack, ranks in ((deficient_stack, RANKS), (sound_stack, [RANK] * 6)):
        for a, basis, rank in zip(stack, run(range_basis, stack.astype(dtype)), ranks, strict=True):
            assert np.all(basis[:, rank:] == 0)
            assert_orthonormal(basis[:, :rank], dtype)
            leading = np.linalg.svd(a)[0][:, :rank]
            np.testing.assert_allclose(basis @ basis.T, leading @ leading.T, rtol=0, atol=roundings(dtype))


@dtypes
@pytest.mark.parametrize("function", [signed_qr, polar_columns])
def test_columns_are_completed_where_the_matrix_lacks_rank(function, dtype, deficient_stack):
    a = deficient_stack.astype(dtype)
    q = run(function, a)
    assert_orthonormal(q, dtype)
    scale = np.maximum(np.abs(a).max((1, 2), keepdims=True), 1)
    factor = q.mT.astype(np.float64) @ (a / scale)
    np.testing.assert_allclose(q @ factor, a / scale, rtol=0, atol=roundings(dtype))
    if function is signed_qr:  # A = QR
        np.testing.assert_allclose(np.tril(factor, -1), 0, atol=roundings(dtype))
        assert np.diagonal(factor, axis1=1, axis2=2).min() > -roundings(dtype)
    else:  # A = QH with H symmetric, positive semidefinite
        np.testing.assert_allclose(factor, factor.mT, rtol=0, atol=roundings(dtype))
        assert np.linalg.eigvalsh(factor).min() > -roundings(dtype)


@dtypes
def test_bad_matrices_leave_the_others_of_a_batch_alone(dtype, deficient_stack):
    deficient_stack = np.where(np.arange(6)[:, None, None] == 0, np.nan, deficient_stack).astype(dtype)
    sound = deficient_stack[SOUND_ONE]
    q, _ = numpy_qr(sound[None])
    for function, expected in (
        (cholesky_qr, q[0]),
        (range_basis, q[0]),
        (signed_qr, q[0]),
        (polar_columns, scipy.linalg.polar(sound.astype(np.float64))[0]),
    ):
        result = run(function, deficient_stack)
        result = result.q if function is cholesky_qr else result
        np.testing.assert_allclose(result[SOUND_ONE], expected, rtol=0, atol=roundings(dtype))


@dtypes
def test_polar_columns_are_scipys(dtype, sound_stack):
    a = sound_stack.astype(dtype)
    expected = np.stack([scipy.linalg.polar(matrix)[0] for matrix in a.astype(np.float64)])
    np.testing.assert_allclose(run(polar_columns, a), expected, rtol=0, atol=roundings(dtype))


@pytest.mark.parametrize("function", [signed_qr, polar_columns, range_basis])
def test_one_column_is_normalised(function):
    a = np.random.default_rng(5).standard_normal((2, 9, 1))
    expected = a / np.linalg.norm(a, axis=1, keepdims=True)
    result = run(function, np.float32(1e25 * a))
    np.testing.assert_allclose(result, expected, rtol=0, atol=roundings(np.float32, 5))


def test_the_sign_of_qr_keeps_a_low_rank_step_downhill():
    rng = np.random.default_rng(6)
    m, start = rng.standard_normal((6, 30, LONG)), rng.standard_normal((6, LONG, RANK))
    u = np.linalg.qr(m @ start)[0]
    right = (m.mT @ u).astype(np.float32)

    def gain(v):  # ⟨M, U V̄ᵀ⟩ = ⟨MᵀU, V̄⟩
        return np.sum(right * v, axis=(1, 2), dtype=np.float64)

    best = np.linalg.svd(right, compute_uv=False).sum(axis=-1)  # over all orthonormal columns
    raw = gain(np.asarray(jnp.linalg.qr(jnp.asarray(right))[0]))
    signed, polar = gain(run(signed_qr, right)), gain(run(polar_columns, right))
    np.testing.assert_allclose(polar, best, rtol=1e-6)
    assert np.all((0.9 * best < signed) & (signed < best))
    assert np.abs(raw.mean()) < 0.3 * signed.mean()
