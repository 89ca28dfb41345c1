"""Orthonormal factors of tall matrices, by Cholesky where that is safe."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from geometry.decompositions import by_matrix, thin_svd
from geometry.polar_factor import PolarExpress
from geometry.precision import full_product, unit_peak

_POLAR = PolarExpress(steps=12)
_LAPACK_BLOCK = 16  # up to this rank LAPACK does not start threads


class CholeskyQR(NamedTuple):
    """A = QR with a positive diagonal of R; `sound` where Q is orthonormal to rounding error."""

    q: Float[Array, "batch long rank"]
    r: Float[Array, "batch rank rank"]
    sound: Bool[Array, "batch"]


def cholesky_qr(a: Float[Array, "batch long rank"]) -> CholeskyQR:
    """QR by two Cholesky factorisations of Gram matrices (CholeskyQR2): products and small triangles only.

    Columns are normalised first, so it is unsound only where they are nearly dependent, whatever their
    lengths: where the condition number of the normalised columns passes about 1e3 in float32, 1e7 in
    float64. There Q may be anything, NaN included.
    """
    scaled, peak = unit_peak(a, axis=-2)
    lengths = jnp.linalg.norm(scaled, axis=-2, keepdims=True)
    normalised = scaled / jnp.where(lengths > 0, lengths, 1)
    rough, first = _cholesky_pass(normalised)
    sound = _distance_from_orthonormal(rough) < 0.1  # False for NaN
    q, second = _cholesky_pass(rough)
    return CholeskyQR(q, full_product(second.mT, first.mT) * lengths * peak, sound)


def range_basis(a: Float[Array, "batch long rank"]) -> Float[Array, "batch long rank"]:
    """An orthonormal basis of the columns' span; columns of zeros follow where it has fewer dimensions.

    The Q of QR with a positive diagonal of R where the columns are independent to rounding, left singular
    vectors where they are not. What is shorter than the rounding errors of the longest column counts as zero:
    normalised, such noise would pass for a direction.
    """
    scaled, _ = unit_peak(a, axis=(-2, -1))
    rounding = max(a.shape[-2:]) * jnp.finfo(a.dtype).eps

    def left_singular_vectors():
        u, s, _ = thin_svd(scaled)
        return u * (s > rounding * s[..., :1])[..., None, :]

    def by_reflections():
        q, r = _householder(scaled)
        inverse = by_matrix(_upper_inverse, r)
        condition = jnp.linalg.norm(r, axis=(-2, -1)) * jnp.linalg.norm(inverse, axis=(-2, -1))
        return _where_sound(sound | (rounding * condition < 1), q, left_singular_vectors)

    fast = cholesky_qr(a)
    lengths = jnp.linalg.norm(scaled, axis=-2, keepdims=True)
    heard = jnp.all(lengths > rounding * jnp.max(lengths, axis=-1, keepdims=True, initial=0), axis=(-2, -1))
    sound = fast.sound & heard
    return _where_sound(sound, fast.q, by_reflections)


def signed_qr(a: Float[Array, "batch long rank"]) -> Float[Array, "batch long rank"]:
    """The Q of QR with a positive diagonal of R, completed to orthonormal columns where `a` lacks rank.

    The sign matters: Householder's Q leaves it arbitrary, and half the columns point backwards.
    """
    fast = cholesky_qr(a)
    return _where_sound(fast.sound, fast.q, lambda: _householder(unit_peak(a, axis=(-2, -1))[0])[0])


def polar_columns(a: Float[Array, "batch long rank"]) -> Float[Array, "batch long rank"]:
    """The nearest matrix with orthonormal columns, A(AᵀA)^(-1/2), completed where `a` lacks rank."""

    def by_svd():
        scaled, _ = unit_peak(a, axis=(-2, -1))
        u, _, vt = thin_svd(scaled)
        return u @ vt

    triangular = cholesky_qr(a)
    small = _POLAR.factor(triangular.r)
    converged = _distance_from_orthonormal(small) < 10 * a.shape[-1] * jnp.finfo(a.dtype).eps
    return _where_sound(triangular.sound & converged, full_product(triangular.q, small), by_svd)


def _cholesky_pass(a: Array) -> tuple[Array, Array]:
    lower, inverse = _cholesky_and_inverse(full_product(a.mT, a))
    return full_product(a, inverse.mT), lower


def _cholesky_and_inverse(gram: Array) -> tuple[Array, Array]:
    """L and its inverse for A = LLᵀ, by halves, so that products do the work.

    On a CPU the LAPACK behind JAX splits larger factorisations and solves over threads of its own, which
    wait for XLA's: a step of microseconds can take milliseconds.
    """
    rank = gram.shape[-1]
    if rank <= _LAPACK_BLOCK:
        lower = jnp.linalg.cholesky(gram)
        identity = jnp.broadcast_to(jnp.eye(rank, dtype=gram.dtype), gram.shape)
        return lower, jax.lax.linalg.triangular_solve(lower, identity, left_side=True, lower=True)
    half = rank // 2
    top, top_inverse = _cholesky_and_inverse(gram[..., :half, :half])
    side = full_product(gram[..., half:, :half], top_inverse.mT)
    bottom, bottom_inverse = _cholesky_and_inverse(gram[..., half:, half:] - full_product(side, side.mT))
    side_inverse = -full_product(bottom_inverse, full_product(side, top_inverse))
    empty = jnp.zeros_like(side.mT)
    return (
        jnp.block([[top, empty], [side, bottom]]),
        jnp.block([[top_inverse, empty], [side_inverse, bottom_inverse]]),
    )


def _upper_inverse(r: Array) -> Array:
    identity = jnp.broadcast_to(jnp.eye(r.shape[-1], dtype=r.dtype), r.shape)
    return jax.lax.linalg.triangular_solve(r, identity, left_side=True)


def _householder(a: Array) -> tuple[Array, Array]:
    """Q and R of each matrix, R with a positive diagonal."""
    q, r = by_matrix(jnp.linalg.qr, a)
    signs = jnp.where(jnp.diagonal(r, axis1=-2, axis2=-1) < 0, -1, 1).astype(a.dtype)
    return q * signs[..., None, :], r * signs[..., :, None]


def _distance_from_orthonormal(q: Array) -> Float[Array, "batch"]:
    """‖QᵀQ - I‖_F; NaN where Q holds one, which XLA's maximum would drop on a CPU."""
    gram = full_product(q.mT, q)
    identity = jnp.broadcast_to(jnp.eye(q.shape[-1], dtype=q.dtype), gram.shape)
    return jnp.linalg.norm(gram - identity, axis=(-2, -1))


def _where_sound(sound: Bool[Array, "batch"], fast: Array, slow: Callable[[], Array]) -> Array:
    """`fast`, and `slow()` for the matrices where it is unsound; not computed where all are sound."""
    return jax.lax.cond(jnp.all(sound), lambda: fast, lambda: jnp.where(sound[:, None, None], fast, slow()))
