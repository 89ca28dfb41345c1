"""What methods share that take the gradient of a batch again: a step uphill, what they need and refuse."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry import EUCLIDEAN
from geometry.precision import widened
from optim.routing import is_whole

Axes = str | tuple[str, ...] | None

# params → the gradient there, of the batch whose gradient `update` is given
GradientFunction = Callable[..., PyTree]


def tree_norm(tree: PyTree, axis_name: Axes = None) -> Float[Array, ""]:
    """The Euclidean norm of a whole tree, whatever its scale; of its parts on all ranks of `axis_name`."""
    norm = EUCLIDEAN.norm(jnp.asarray([EUCLIDEAN.norm(leaf) for leaf in jax.tree.leaves(tree)]))
    return norm if axis_name is None else jnp.sqrt(jax.lax.psum(norm**2, axis_name))


def moved(params: PyTree, direction: PyTree, distance: ArrayLike) -> PyTree:
    """w + distance · direction, in float32 or wider, kept in the dtype of w."""
    return jax.tree.map(lambda w, d: (widened(w) + distance * widened(d)).astype(w.dtype), params, direction)


def ascended(
    params: PyTree, gradient: PyTree, radius: ArrayLike, *, adaptive: bool = False, axis_name: Axes = None
) -> PyTree:
    """w + ρ g/‖g‖, or w + ρ T² g/‖T g‖ with T = |w| where it is adaptive; w where that norm is 0."""

    def scaled(tree):
        return jax.tree.map(lambda w, x: jnp.abs(w) * x, params, tree) if adaptive else tree

    direction = scaled(gradient)
    norm = tree_norm(direction, axis_name)
    # divided before it is multiplied: both may be near the ends of the range of floats
    unit = jax.tree.map(lambda d: widened(d) / jnp.where(norm > 0, norm, 1), direction)
    return moved(params, scaled(unit), radius)


def check_whole(params: PyTree, method: str) -> None:
    """Raise ValueError where `optax.masked` or `optax.partition` hand over a part of the parameters alone."""
    if not is_whole(params):
        raise ValueError(
            f"{method} needs all parameters, as it has gradients taken at others: optax.masked and"
            " optax.partition go inside of it, if anywhere, and not around it"
        )


def check_gradient_function(params: PyTree | None, grad_fn: GradientFunction | None, method: str) -> None:
    """Raise ValueError where an update lacks what the gradient is taken again with."""
    if params is None or grad_fn is None:
        raise ValueError(
            f"{method} needs params and grad_fn, params → the gradient of the same batch: call"
            " update(updates, state, params, grad_fn=grad_fn)"
        )
