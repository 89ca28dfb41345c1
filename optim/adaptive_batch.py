"""Accumulation of micro-batches to batches that a controller sizes, around any optimizer."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, PyTree

from geometry import SPECTRAL, Moments
from optim.batch_control import BatchController, BatchState
from optim.options import check_number
from optim.routing import BY_NAME, Routing
from optim.sharding import call_in_auto_mode


class AdaptiveBatchState(NamedTuple):
    """A batch that is being accumulated.

    Attributes:
      control: the controller's state; `control.batch_size` examples make this batch.
      moments: of the gradients accumulated so far; between two batches, those of the last one.
      begun: micro-batches used before this batch.
      accumulated: micro-batches in it so far.
      inner: the optimizer's state.
    """

    control: BatchState
    moments: Moments
    begun: Int[Array, ""]
    accumulated: Int[Array, ""]
    inner: PyTree


def adaptive_batch(
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    schedule: optax.Schedule,
    controller: BatchController,
    *,
    microbatch_size: int,
    num_microbatches: ArrayLike | None = None,
    axis_name: str | tuple[str, ...] | None = None,
    routing: Routing = BY_NAME,
) -> optax.GradientTransformationExtraArgs:
    """Accumulate micro-batches until they make the batch that the controller wants, and step once then.

    In the manner of `optax.MultiSteps`: `update` takes the gradient of one micro-batch and returns zeros
    until the batch is complete, and then the optimizer's update for its mean gradient. The number of
    micro-batches in a batch is data, so that a growing batch recompiles nothing; a loop over a given number
    of micro-batches, such as one `lax.scan`, uses that many examples whatever the batch becomes.

    The noise scale is that of the accumulated micro-batches, and of the ranks where there are several. An
    `update` that is given `part_gradients`, as `workloads.train(parts=...)` hands them over, takes each part
    for itself. Where the step is a branch must not depend on the run, so runs are mapped, not `vmap`ped.

    Args:
      optimizer: schedule → transformation, such as `optax.adam`; it gets ω times `schedule`.
      schedule: the learning rate by micro-batches used before the batch: by examples, not by steps.
      controller: sizes the batches, in multiples of micro-batches; see `BatchController`.
      microbatch_size: the examples behind one gradient, those of all ranks together.
      num_microbatches: after so many, what is accumulated makes the last batch; None where that is not to be.
      axis_name: the mesh axes of data-parallel ranks, whose loop is inside `shard_map`. Each accumulates its
        own, and all are averaged once a batch.
      routing: how leaves are seen as matrices, for the spectral noise scale.

    Raises:
      ValueError: `microbatch_size` or `num_microbatches` is below 1, or the controller's batches and quantum
        are no multiples of `microbatch_size`; or, in an update, the first batch would be of one part alone,
        which tells nothing of the noise.
    """
    _check_sizes(controller, microbatch_size, num_microbatches)
    view = (lambda path, shape: routing.route(path, shape).view) if controller.geometry is SPECTRAL else None

    def inner_optimizer(control, microbatches):
        rate = control.learning_rate_factor * schedule(microbatches)
        return optax.with_extra_args_support(optimizer(lambda _: rate))

    def controlled(control, batch, samples):
        return controller.update(control, lambda: batch.estimate(samples, controller.geometry), samples)

    def init(params):
        control, nothing = controller.init(), jnp.zeros([], jnp.int32)
        of_rank = params if axis_name is None else jax.lax.pcast(params, axis_name, to="varying")
        inner = inner_optimizer(control, nothing).init(params)
        return AdaptiveBatchState(control, Moments.init(of_rank, view), nothing, nothing, inner)

    def update(gradient, state, params=None, *, part_gradients=None, **extra: Any):
        parts = [gradient] if part_gradients is None else _unstacked(part_gradients)
        if axis_name is None:
            _check_parts(controller, microbatch_size, len(parts))
        due = controller.due(state.control)
        first = state.accumulated == 0
        moments = call_in_auto_mode(_accumulated, first, due, state.moments, parts, like=state.moments)
        accumulated = state.accumulated + 1
        samples = microbatch_size * accumulated

        def step():
            batch = moments if axis_name is None else moments.across(axis_name)
            control = call_in_auto_mode(controlled, state.control, batch, samples, like=state.control)
            mean = jax.tree.map(lambda centre, g: centre.astype(g.dtype), batch.mean, gradient)
            transformation = inner_optimizer(state.control, state.begun)
            updates, inner = transformation.update(mean, state.inner, params, **extra)
            begun, nothing = state.begun + accumulated, jnp.zeros([], jnp.int32)
            return updates, (control, begun, nothing, inner)

        def wait():
            still = jax.tree.map(lambda g: jnp.zeros(g.shape, g.dtype), gradient)
            return still, (state.control, state.begun, accumulated, state.inner)

        complete = samples >= state.control.batch_size
        if num_microbatches is not None:
            complete |= state.begun + accumulated == num_microbatches
        # the moments stay outside of the branches, which would copy them
        updates, (control, begun, accumulated, inner) = jax.lax.cond(complete, step, wait)
        return updates, AdaptiveBatchState(control, moments, begun, accumulated, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _accumulated(
    first: Bool[Array, ""], due: Bool[Array, ""], moments: Moments, parts: Sequence[PyTree]
) -> Moments:
    """With the parts of one more micro-batch, or these alone where they are the batch's first.

    For a batch that is not measured, in the mean alone.
    """

    def begun(tree):
        return jax.tree.map(lambda total: jnp.where(first, 0, total), tree)

    def measured():
        return functools.reduce(Moments.add, parts, begun(moments))

    def averaged():
        count, mean = begun((moments.count, moments.mean))
        return functools.reduce(Moments.add_to_mean, parts, replace(moments, count=count, mean=mean))

    return jax.lax.cond(due, measured, averaged)


def _unstacked(part_gradients: PyTree) -> list[PyTree]:
    count = jax.tree.leaves(part_gradients)[0].shape[0]
    return [jax.tree.map(lambda g, part=part: g[part], part_gradients) for part in range(count)]


def _check_sizes(
    controller: BatchController, microbatch_size: int, num_microbatches: ArrayLike | None
) -> None:
    check_number("microbatch_size", microbatch_size, 1)
    if num_microbatches is not None:
        check_number("num_microbatches", num_microbatches, 1)
    for name in ("batch_size", "max_batch_size", "quantum"):
        size = getattr(controller, name)
        if not isinstance(size, jax.core.Tracer) and size % microbatch_size:
            raise ValueError(f"{name} must be a multiple of microbatch_size={microbatch_size}, got {size}")


def _check_parts(controller: BatchController, microbatch_size: int, parts: int) -> None:
    size = controller.batch_size
    if not isinstance(size, jax.core.Tracer) and size * parts < 2 * microbatch_size:
        raise ValueError(
            f"the noise in a batch of {size} examples cannot be told from one gradient: take smaller"
            " micro-batches, or hand over part_gradients"
        )
