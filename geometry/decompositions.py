"""Decompositions of stacks of matrices, which on a CPU go matrix by matrix."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def by_matrix(decompose: Callable[[Array], PyTree], x: Float[Array, "*batch rows columns"]) -> PyTree[Array]:
    """What LAPACK makes of every matrix in the last two axes.

    Before 0.11.2 jaxlib shares a batch out over XLA's threads, and one of them waits until it is done: where
    all threads wait so at once, for several devices or for independent parts of a program, nothing goes on.
    Matrix by matrix nothing is shared out, but for what `vmap` adds.

    >>> import jax.numpy as jnp
    >>> by_matrix(jnp.linalg.svdvals, jnp.stack([jnp.eye(2), 3 * jnp.eye(2)])).tolist()
    [[1.0, 1.0], [3.0, 3.0]]

    Args:
      decompose: of a stack of matrices or of one.
      x: the matrices.

    Returns what `decompose` does, `batch` its leading axes.
    """
    batch = x.shape[:-2]
    count = math.prod(batch)

    def in_turn(x):
        parts = jax.lax.map(decompose, x.reshape(count, *x.shape[-2:]))
        return jax.tree.map(lambda part: part.reshape(*batch, *part.shape[1:]), parts)

    if count < 2:
        return decompose(x)
    return jax.lax.platform_dependent(x, cpu=in_turn, default=decompose)


def thin_svd(x: Float[Array, "*batch rows columns"]) -> PyTree[Array]:
    """U, the diagonal of Σ, and Vᵀ of every matrix, of min(rows, columns) singular values."""
    return by_matrix(functools.partial(jnp.linalg.svd, full_matrices=False), x)
