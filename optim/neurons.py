"""Each neuron's share of a direction evened out by its second moment: NorMuon."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from geometry.matrices import leaf_path, leaves_by_path
from geometry.precision import widened
from optim.options import check_number
from optim.routing import BY_NAME, Routing
from optim.state import beside_params


class NeuronState(NamedTuple):
    """The mean square of every neuron's direction, by the path of its leaf, with one entry along the rows."""

    mean_square: dict[str, Float[Array, "..."]]


def scale_by_neuron_rms(
    decay: ArrayLike = 0.95, *, eps: ArrayLike = 1e-8, routing: Routing = BY_NAME
) -> optax.GradientTransformation:
    """Divide each neuron's part of a direction D by its root mean square over time, and keep the norm of D.

    A neuron is a column of a matrix fan-in × fan-out:

        v ← βv + (1 - β) mean_in(D²),  D̂ = D/(√v + ε),  direction ‖D‖_F · D̂/‖D̂‖_F.

    Behind `scale_by_polar(scale="rms")` it is NorMuon, whose ‖D‖_F = 0.2 √(in · out) is that of an orthogonal
    D: polar factors have neurons of very different lengths. v starts at zero, which the norm makes up for.
    (arXiv:2510.05491)

    Args:
      decay: β in [0, 1).
      eps: ε, of lengths near 1/√in.
      routing: how leaves are seen as matrices; of blocks of columns the whole keeps its norm.

    Raises:
      ValueError: a number is outside what it may be; or, at init, a leaf has no matrix view.
    """
    check_number("decay", decay, 0, 1)
    check_number("eps", eps, 0)

    def init(params):
        leaves, zeros = leaves_by_path(params), {}
        for path, view in routing.views(params).items():
            shape = [1 if axis in view.rows else size for axis, size in enumerate(leaves[path].shape)]
            zeros[path] = jnp.zeros(shape, jnp.promote_types(leaves[path].dtype, jnp.float32))
        return NeuronState(beside_params(zeros, params))

    def update(updates, state, params=None):
        leaves, kept, directions = leaves_by_path(updates), {}, {}
        for path, view in routing.views(updates).items():
            direction, matrix = widened(jnp.asarray(leaves[path])), (*view.rows, *view.columns)
            square = jnp.mean(direction**2, axis=view.rows, keepdims=True)
            kept[path] = decay * state.mean_square[path] + (1 - decay) * square
            even = direction / (jnp.sqrt(kept[path]) + eps)
            norms = [jnp.sqrt(jnp.sum(x**2, axis=matrix, keepdims=True)) for x in (direction, even)]
            directions[path] = norms[0] / jnp.where(norms[1] > 0, norms[1], 1) * even

        def scaled(key_path, update):
            return directions[leaf_path(key_path)].astype(update.dtype)

        tree = jax.tree_util.tree_map_with_path(scaled, updates)
        return tree, NeuronState(beside_params(kept, updates))

    return optax.GradientTransformation(init, update)
