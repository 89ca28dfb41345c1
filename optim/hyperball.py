"""Steps that keep the norm of every matrix: Hyperball, and MuonH by it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from geometry.matrices import MatrixView, leaf_path, leaves_by_path
from geometry.precision import unit_peak, widened
from optim.options import check_number
from optim.routing import BY_NAME, Routing
from optim.state import beside_params
from optim.step import StepState, descend


class HyperballState(NamedTuple):
    """The rate's state; and by the path of every leaf R of its matrices, with one entry along their axes."""

    step: StepState
    radii: dict[str, Float[Array, "..."]]


def hyperball(
    learning_rate: optax.ScalarOrSchedule, *, routing: Routing = BY_NAME
) -> optax.GradientTransformation:
    """Turn directions D into steps along a sphere, on which every matrix keeps its Frobenius norm R.

        W ← R · unit(W - η R · unit(D)),  unit(X) = X/‖X‖_F.

    So η is an angle, the relative change of a step, and there is nothing left for a weight decay to do. R is
    that of the parameters at `init`, and never summed up: norms do not drift. The last link of a chain in
    place of `descend`; behind `scale_by_momentum` and `scale_by_polar`, whose scale does not matter then,
    it is MuonH. A matrix of zeros stays. (arXiv:2606.16899)

    Args:
      learning_rate: η, a number or a schedule.
      routing: how leaves are seen as matrices; of blocks of columns the whole keeps its norm.

    Raises:
      ValueError: η is negative or infinite; at init, a leaf has no matrix view; or, in an update, params are
        missing.
    """
    check_number("learning_rate", learning_rate, 0)
    rate = descend(learning_rate)

    def init(params):
        views, leaves = routing.views(params), leaves_by_path(params)
        radii = {path: _norm(jnp.asarray(leaves[path]), view) for path, view in views.items()}
        return HyperballState(rate.init(params), beside_params(radii, params))

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("hyperball needs params: call update(updates, state, params)")
        views = routing.views(params)

        def unit_direction(key_path, direction):
            view = views[leaf_path(key_path)]
            return _unit(jnp.asarray(direction), view) * state.radii[leaf_path(key_path)]

        directions = jax.tree_util.tree_map_with_path(unit_direction, updates)
        steps, step = rate.update(directions, state.step)

        def along_sphere(key_path, update, weight, direction):
            view, radius = views[leaf_path(key_path)], state.radii[leaf_path(key_path)]
            weight = widened(jnp.asarray(weight))
            moved = radius * _unit(weight + update, view)
            return (moved - weight).astype(direction.dtype)

        stepped = jax.tree_util.tree_map_with_path(along_sphere, steps, params, updates)
        return stepped, HyperballState(step, state.radii)

    return optax.GradientTransformation(init, update)


def _norm(x: Float[Array, "..."], view: MatrixView) -> Float[Array, "..."]:
    """‖X‖_F of each matrix, with one entry along its axes."""
    scaled, peak = unit_peak(widened(x), axis=(*view.rows, *view.columns))
    return peak * jnp.sqrt(jnp.sum(scaled**2, axis=(*view.rows, *view.columns), keepdims=True))


def _unit(x: Float[Array, "..."], view: MatrixView) -> Float[Array, "..."]:
    """X/‖X‖_F of each matrix, zero for zero."""
    scaled, _ = unit_peak(widened(x), axis=(*view.rows, *view.columns))
    norm = _norm(scaled, view)
    return scaled / jnp.where(norm > 0, norm, 1)
