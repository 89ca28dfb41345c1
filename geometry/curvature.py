"""Curvature without matrices: everything here derives from a product v → H v over parameter trees.

A `Product` is a linear, symmetric function from a tree like the parameters to another one. Three kinds of H
are offered; whatever else is measured works for all of them, and for any other function of that kind.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from geometry.precision import unit_peak

Product = Callable[[PyTree], PyTree]

_TOGETHER = 64  # products computed side by side: wide enough for matrix units, small beside the result
_LOBPCG_SMALLEST = 6  # dimensions that the library's method takes


class ProbeMean(NamedTuple):
    """The mean over random probes of an unbiased estimate, and the mean's standard error."""

    mean: PyTree
    standard_error: PyTree


def hessian_product(loss: Callable[[PyTree], Float[Array, ""]], params: PyTree) -> Product:
    """v → ∇²L(w) v, forward over reverse; the gradient is linearised once for all products.

    >>> product = hessian_product(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 3.0]))
    >>> product(jnp.array([1.0, 0.0]))
    Array([6., 2.], dtype=float32)
    """
    return jax.linearize(jax.grad(loss), params)[1]


def gauss_newton_product(
    outputs: Callable[[PyTree], Float[Array, "..."]],
    loss_of_outputs: Callable[[Float[Array, "..."]], Float[Array, ""]],
    params: PyTree,
) -> Product:
    """v → Jᵀ ∇²ℓ(f(w)) J v with J the Jacobian of the outputs f: the Hessian of ℓ ∘ f where f is linearised.

    Positive semidefinite where ℓ is convex; for softmax cross-entropy it is the Fisher matrix, labels
    averaged over the model's own distribution.
    """
    values, jacobian = jax.linearize(outputs, params)
    transposed = jax.linear_transpose(jacobian, params)
    curved = hessian_product(loss_of_outputs, values)

    def product(v):
        (pulled_back,) = transposed(curved(jacobian(v)))
        return pulled_back

    return product


def fisher_product(gradients: PyTree) -> Product:
    """v → meanᵢ gᵢ ⟨gᵢ, v⟩, for per-sample gradients stacked on each leaf's first axis.

    With each gradient taken at ONE label drawn from the model this is an unbiased estimate of the Fisher
    matrix; at the true labels it is the uncentred second moment of the gradients.
    """

    def product(v):
        projections = sum(
            jnp.tensordot(g, x, axes=x.ndim)
            for g, x in zip(jax.tree.leaves(gradients), jax.tree.leaves(v), strict=True)
        )
        return jax.tree.map(lambda g: jnp.tensordot(projections / len(projections), g, axes=1), gradients)

    return product


def directional_curvature(product: Product, direction: PyTree) -> Float[Array, ""]:
    """⟨d, H d⟩ / ⟨d, d⟩, the Rayleigh quotient, whatever the length of d; zero for a zero direction.

    >>> float(directional_curvature(lambda v: 3 * v, 1e-30 * jnp.ones(2)))
    3.0
    """
    vector, _ = unit_peak(ravel_pytree(direction)[0])
    square = jnp.vdot(vector, vector)
    return jnp.vdot(vector, _on_vectors(product, direction)(vector)) / jnp.where(square > 0, square, 1)


def top_eigenvalue(
    product: Product, like: PyTree, key: PRNGKeyArray, *, max_products: int = 100
) -> Float[Array, ""]:
    """The largest eigenvalue of H, algebraically: not that of largest magnitude, which may be negative.

    By LOBPCG from a random vector (jax.experimental.sparse.linalg), which stops at rounding error or after
    `max_products` steps; in five dimensions or fewer, from the dense matrix.
    """
    # imported here: it takes as long to load as the rest of the package
    from jax.experimental.sparse.linalg import lobpcg_standard

    multiply, size = _on_vectors(product, like), _size(like)
    if size < _LOBPCG_SMALLEST:
        return jnp.linalg.eigvalsh(curvature_matrix(product, like))[-1]
    start = jax.random.normal(key, (size, 1), _dtype(like))
    found, _, _ = lobpcg_standard(jax.vmap(multiply, 1, 1), start, m=max_products)
    vanishes = jnp.all(multiply(start[:, 0]) == 0)  # LOBPCG divides by zero for H = 0
    return jnp.where(vanishes, 0, found[0])


def hutchinson_trace(product: Product, like: PyTree, key: PRNGKeyArray, probes: int) -> ProbeMean:
    """Tr H as the mean of ⟨z, H z⟩ over random signs z (Hutchinson's estimator), with its standard error.

    Exact for a diagonal H. Raises ValueError when `probes` is below 2: one probe has no standard error.
    """
    return _mean_over_probes(jnp.sum, product, like, key, probes)


def hutchinson_diagonal(product: Product, like: PyTree, key: PRNGKeyArray, probes: int) -> ProbeMean:
    """The diagonal of H, as trees like `like`: the mean of z ⊙ H z over random signs z, with standard errors.

    Exact for a diagonal H. Holds `probes` trees at once. Raises ValueError when `probes` is below 2.
    """
    estimate = _mean_over_probes(lambda x: x, product, like, key, probes)
    unravel = ravel_pytree(like)[1]
    return ProbeMean(*map(unravel, estimate))


def curvature_matrix(product: Product, like: PyTree) -> Float[Array, "d d"]:
    """H as a matrix over the raveled parameters, from d products; for small models."""
    size = _size(like)
    batch = min(size, _TOGETHER)
    batches = -(-size // batch)
    vectors = jnp.eye(batches * batch, size, dtype=_dtype(like))  # zeros fill up the last batch
    multiply = jax.vmap(_on_vectors(product, like))
    rows = jax.lax.map(multiply, vectors.reshape(batches, batch, size))
    return rows.reshape(batches * batch, size)[:size]


def curvature_blocks(product: Product, like: PyTree) -> PyTree:
    """The diagonal blocks of H, one matrix over each raveled leaf, in a tree like `like`."""
    leaves, structure = jax.tree.flatten(like)

    def block(place):
        def within(leaf):
            others = [jnp.zeros_like(other) for other in leaves]
            direction = [*others[:place], leaf, *others[place + 1 :]]
            return jax.tree.leaves(product(structure.unflatten(direction)))[place]

        return curvature_matrix(within, leaves[place])

    return structure.unflatten([block(place) for place in range(len(leaves))])


def _mean_over_probes(
    summary: Callable[[Array], Array], product: Product, like: PyTree, key: PRNGKeyArray, probes: int
) -> ProbeMean:
    """The mean of `summary` of z ⊙ H z over random signs z."""
    if probes < 2:
        raise ValueError(f"probes must be at least 2, got {probes}")
    multiply, size, dtype = _on_vectors(product, like), _size(like), _dtype(like)

    def probed(probe_key):
        signs = jax.random.rademacher(probe_key, (size,), dtype)
        return summary(signs * multiply(signs))

    values = jax.lax.map(probed, jax.random.split(key, probes), batch_size=_TOGETHER)
    scaled, peak = unit_peak(values, axis=0)  # of which no square over- or underflows
    deviation = jnp.squeeze(peak, axis=0) * jnp.std(scaled, axis=0, ddof=1)
    return ProbeMean(jnp.mean(values, axis=0), deviation / jnp.sqrt(probes))


def _on_vectors(product: Product, like: PyTree) -> Callable[[Float[Array, "d"]], Float[Array, "d"]]:
    unravel = ravel_pytree(like)[1]
    return lambda vector: ravel_pytree(product(unravel(vector)))[0]


def _size(like: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(like))


def _dtype(like: PyTree) -> jnp.dtype:
    return jnp.result_type(*jax.tree.leaves(like))
