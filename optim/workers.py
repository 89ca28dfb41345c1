"""Workers: what each of them keeps for itself, and a transformation on the stacks of all of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from optim.hooks import evaluation_params, offers
from optim.options import check_number

AxisName = str | tuple[str, ...]


class WorkersState(NamedTuple):
    """The workers' states in one: each part stacked along a leading axis, or common to all."""

    each: PyTree

    def evaluation_params(self, params: PyTree) -> PyTree:
        """What the state offers, or the mean of the workers' parameters."""
        return evaluation_params(self.each, jax.tree.map(lambda stack: jnp.mean(stack, axis=0), params))


def on_workers(
    transformation: optax.GradientTransformation, workers: int, axis_name: str = "workers"
) -> optax.GradientTransformationExtraArgs:
    """The transformation of one worker, as one on the stacks of all, on one device.

    Parameters, gradients and updates have a leading axis of workers; the transformation speaks of it by
    `axis_name`, as `local_steps` and `lion_cub` do. All begin from the first worker's parameters. What they
    have in common is kept once, so that what all do at the same steps, such as an average at a boundary, is
    computed at these steps alone. Inside `shard_map` over a mesh axis of workers the bare transformation does
    the same.

    `part_gradients` have their axis of parts before that of the workers; other extra arguments go to all.

    Args:
      transformation: of one worker.
      workers: K, how many they are.
      axis_name: of the axis of workers.

    Raises:
      ValueError: `workers` is below 1; at init, the transformation wants to draw weights, as `ivon` does,
        which a training loop of workers does not; or, in an update, the leading axis is another.
    """
    check_number("workers", workers, 1)
    transformation = optax.with_extra_args_support(transformation)

    def init(params):
        state = transformation.init(jax.tree.map(lambda stack: stack[0], params))
        if offers(state, "sample"):
            raise ValueError("on_workers: no weights are drawn for workers, as ivon in them needs it")
        repeat = lambda leaf: jnp.broadcast_to(leaf, (workers, *jnp.shape(leaf)))  # noqa: E731
        parts, structure = jax.tree.flatten(worker_axes(state), is_leaf=lambda axis: axis is None)
        stacked = [
            part if axis is None else jax.tree.map(repeat, part)
            for axis, part in zip(parts, structure.flatten_up_to(state), strict=True)
        ]
        return WorkersState(structure.unflatten(stacked))

    def update(updates, state, params=None, *, part_gradients=None, **extra):
        axes = worker_axes(state.each)

        def step(gradient, own, params, parts):
            return transformation.update(gradient, own, params, part_gradients=parts, **extra)

        mapped = jax.vmap(
            step, in_axes=(0, axes, 0, 1), out_axes=(0, axes), axis_name=axis_name, axis_size=workers
        )
        updates, states = mapped(updates, state.each, params, part_gradients)
        return updates, WorkersState(states)

    return optax.GradientTransformationExtraArgs(init, update)


def worker_axes(state: PyTree) -> PyTree:
    """The axes to `jax.vmap` a state over workers: a tree shaped as its beginning.

    0 where each worker has its own, and None where all have the same: the fields that a part of the state
    names as `common`.
    """

    def axes(node):
        if not _has_common(node):
            return 0
        return type(node)(*(None if field in node.common else 0 for field in node._fields))

    return jax.tree.map(axes, state, is_leaf=_has_common)


def own(tree: PyTree, axis_name: AxisName | None) -> PyTree:
    """The same values, that each worker may change for itself: inside `shard_map` they vary over its axes."""
    names = (axis_name,) if isinstance(axis_name, str) else axis_name or ()
    manual = tuple(name for name in names if name in jax.sharding.get_abstract_mesh().manual_axes)
    if not manual:
        return tree
    worker = jax.lax.axis_index(manual)
    # the leaf either way: `jax.lax.pcast` refuses what varies already, as parts of a state may
    return jax.tree.map(lambda leaf: jnp.where(worker < 0, leaf, leaf), tree)


def mean_over(tree: PyTree, axis_name: AxisName | None) -> PyTree:
    """The mean over the workers; of one worker without an axis, its own."""
    return tree if axis_name is None else jax.lax.pmean(tree, axis_name)


def check_axis(axis_name: AxisName | None, workers: int | None) -> None:
    """Raise ValueError where the axis in scope has not as many workers; any number will do when None."""
    size = 1 if axis_name is None else jax.lax.axis_size(axis_name)
    if workers is not None and size != workers:
        axis = "without axis_name" if axis_name is None else f"along the axis {axis_name!r}"
        raise ValueError(f"workers must be {size}, as many as there are {axis}, got {workers}")


def _has_common(node: PyTree) -> bool:
    return hasattr(node, "common")
