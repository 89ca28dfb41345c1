"""Takeuchi's information criterion: the generalisation gap that curvature and gradient noise predict.

With H the expected Hessian (or what stands for it: the Gauss–Newton or the Fisher matrix) and
C = E[g gᵀ] the uncentred second moment of per-sample gradients, the expected gap between test and training
loss after training on n samples is about Tr(H⁻¹ C) / n (K. Takeuchi, 1976; for neural networks,
arXiv:2602.23219). The functions here return the bias term, the trace alone, exactly or approximated; each
takes what it needs to know of H, measured in whatever way (`geometry.curvature`).

A damping λ makes it Tr((H + λI)⁻¹ C). A direction along which H + λI vanishes, to rounding, is left out, as
by the pseudo-inverse.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry.precision import binary_unit, widened


def per_sample_gradients(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]], params: PyTree, samples: PyTree
) -> PyTree:
    """The gradient of `loss(params, sample)` for every sample, stacked on each leaf's first axis."""
    return jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, samples)


def second_moments(gradients: PyTree) -> PyTree:
    """The diagonal of C: the mean over samples of each coordinate's square."""
    return jax.tree.map(lambda g: jnp.mean(widened(g) ** 2, axis=0), gradients)


def takeuchi_exact(
    curvature: Float[Array, "d d"], gradients: PyTree, damping: ArrayLike = 0.0
) -> Float[Array, ""]:
    """Tr((H + λI)⁻¹ C), by the eigenvalues of H.

    Undamped, it is invariant under invertible linear changes of the parameters.

    >>> float(takeuchi_exact(jnp.diag(jnp.array([4.0, 0.0])), jnp.array([[2.0, 0.0], [0.0, 0.0]])))
    0.5

    Args:
      curvature: H over the raveled parameters, as from `curvature_matrix`; symmetric.
      gradients: per-sample gradients, samples on each leaf's first axis.
      damping: λ ≥ 0, in units of H.

    Raises ValueError for a negative damping, where it is not traced.
    """
    _check_damping(damping)
    values, vectors = jnp.linalg.eigh(widened(curvature))
    rows = jax.vmap(lambda gradient: ravel_pytree(gradient)[0])(gradients)
    damped = values + damping
    rounding = len(damped) * jnp.finfo(damped.dtype).eps * jnp.max(jnp.abs(damped))
    return _sum_of_quotients(rows @ vectors, damped, rounding)


def takeuchi_blocks(blocks: PyTree, gradients: PyTree, damping: ArrayLike = 0.0) -> Float[Array, ""]:
    """Σ over leaves of Tr((H_l + λI)⁻¹ C_l): `takeuchi_exact` where curvature couples no two leaves.

    `blocks` holds a matrix for each leaf, as from `curvature_blocks`; the rest is as in `takeuchi_exact`.
    """
    terms = jax.tree.map(lambda block, leaf: takeuchi_exact(block, leaf, damping), blocks, gradients)
    return sum(jax.tree.leaves(terms))


def takeuchi_diagonal(diagonal: PyTree, gradients: PyTree, damping: ArrayLike = 0.0) -> Float[Array, ""]:
    """Σᵢ cᵢ / (hᵢ + λ): `takeuchi_exact` where H is diagonal.

    `diagonal` is a tree like the parameters, as from `geometry.hutchinson_diagonal`, whose random errors
    count where hᵢ + λ is small; the rest is as in `takeuchi_exact`.

    >>> float(takeuchi_diagonal(jnp.array([4.0, 0.0]), jnp.array([[2.0, 1.0]]), damping=4.0))
    0.75
    """
    _check_damping(damping)
    terms = jax.tree.map(lambda h, g: _sum_of_quotients(g, widened(h) + damping, 0), diagonal, gradients)
    return sum(jax.tree.leaves(terms))


def takeuchi_trace_ratio(
    trace: Float[Array, ""], gradients: PyTree, damping: ArrayLike = 0.0
) -> Float[Array, ""]:
    """Tr C / (Tr H + λ), a lower bound where H is positive semidefinite: no eigenvalue exceeds Tr H.

    `trace` is Tr H, as from `geometry.hutchinson_trace`; the rest is as in `takeuchi_exact`.

    >>> float(takeuchi_trace_ratio(jnp.float32(0), jnp.zeros((3, 2))))
    0.0
    """
    _check_damping(damping)
    damped = widened(trace) + damping
    return sum(_sum_of_quotients(g, damped, 0) for g in jax.tree.leaves(gradients))


def _sum_of_quotients(
    gradients: Float[Array, "samples *shape"], denominators: Float[Array, "*#shape"], rounding: ArrayLike
) -> Float[Array, ""]:
    """Σ c / h over those h whose magnitude exceeds `rounding`, with c the mean square of the gradients."""
    unit = binary_unit(widened(gradients))
    moments = second_moments(widened(gradients) / unit)
    vanishing = jnp.abs(denominators) <= rounding  # NaN is not
    quotients = jnp.where(vanishing, 0, moments / jnp.where(vanishing, 1, denominators))
    return unit * (unit * jnp.sum(quotients))  # whose product may be in range where the square of u is not


def _check_damping(damping: ArrayLike) -> None:
    if not isinstance(damping, jax.core.Tracer) and np.any(np.asarray(damping) < 0):
        raise ValueError(f"damping must not be negative, got {damping}")
