"""Accumulation of micro-batches to batches that a controller sizes, around any optimizer."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from geometry import SPECTRAL, Moments
from geometry.matrices import ViewRule
from geometry.moments import Views, unstacked, views_of
from optim.batch_control import BatchController, BatchState
from optim.options import check_number
from optim.routing import BY_NAME, Routing
from optim.sharding import call_in_auto_mode
from optim.state import beside_params


class MomentSums(NamedTuple):
    """The arrays of `geometry.Moments`, without how matrices are seen, which is no part of a state.

    All units are one array, in the order of the leaves: a call takes microseconds for each array of a state.
    """

    count: PyTree
    mean: PyTree
    units: Float[Array, "leaves"]
    squares: PyTree
    grams: PyTree


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
    moments: MomentSums
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
    for itself. One that is not finite spoils its batch: `optax.apply_if_finite` around this leaves its
    micro-batch out. Runs are to be mapped and not `vmap`ped, which would compute both sides of every branch.

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
    accumulation = _Accumulation(
        optimizer, schedule, controller, microbatch_size, num_microbatches, axis_name, routing
    )
    return optax.GradientTransformationExtraArgs(accumulation.init, accumulation.update)


class _Accumulation(NamedTuple):
    """The options of `adaptive_batch`, and what they do."""

    optimizer: Callable[[optax.Schedule], optax.GradientTransformation]
    schedule: optax.Schedule
    controller: BatchController
    microbatch_size: int
    num_microbatches: ArrayLike | None
    axis_name: str | tuple[str, ...] | None
    routing: Routing

    def init(self, params: PyTree) -> AdaptiveBatchState:
        control = self.controller.init()
        begun, accumulated = (jnp.zeros([], jnp.int32) for _ in range(2))
        of_rank = params if self.axis_name is None else jax.lax.pcast(params, self.axis_name, to="varying")
        sums = _sums(Moments.init(of_rank, self._view))
        sums = sums._replace(grams=beside_params(sums.grams, params) if self._view else {})
        inner = self._inner_optimizer(control, begun).init(params)
        return AdaptiveBatchState(control, sums, begun, accumulated, inner)

    def update(
        self,
        gradient: PyTree,
        state: AdaptiveBatchState,
        params: PyTree | None = None,
        *,
        part_gradients: PyTree | None = None,
        **extra: Any,
    ) -> tuple[PyTree, AdaptiveBatchState]:
        parts = [gradient] if part_gradients is None else unstacked(part_gradients)
        if self.axis_name is None:
            _check_parts(self.controller, self.microbatch_size, len(parts))
        due, first = self.controller.due(state.control), state.accumulated == 0
        views = views_of(gradient, self._view)
        accumulate = functools.partial(_accumulated, views)
        sums = call_in_auto_mode(accumulate, first, due, state.moments, parts, like=state.moments)
        state = state._replace(moments=sums, accumulated=state.accumulated + 1)

        step = functools.partial(self._step, extra=extra)

        def wait(*operands):
            zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(step, *operands)[0])  # its dtypes, shardings
            return zeros, (state.control, state.begun, state.accumulated, state.inner)

        complete = self.microbatch_size * state.accumulated >= state.control.batch_size
        if self.num_microbatches is not None:
            complete |= state.begun + state.accumulated == self.num_microbatches
        # of the moments the branches return nothing, which would be a copy; operands, and nothing captured,
        # so that outside of jit too a batch that is not complete is not looked at
        operands = (gradient, state, _moments(sums, views), params)
        updates, (control, begun, accumulated, inner) = jax.lax.cond(complete, step, wait, *operands)
        return updates, AdaptiveBatchState(control, state.moments, begun, accumulated, inner)

    def _step(
        self,
        gradient: PyTree,
        state: AdaptiveBatchState,
        moments: Moments,
        params: PyTree | None,
        extra: dict[str, Any],
    ) -> tuple[PyTree, tuple[BatchState, Int[Array, ""], Int[Array, ""], PyTree]]:
        """The update on the batch that is complete, and the state after it but for the moments."""
        batch = moments if self.axis_name is None else moments.across(self.axis_name)
        samples = self.microbatch_size * state.accumulated
        control = call_in_auto_mode(self._controlled, state.control, batch, samples, like=state.control)
        mean = jax.tree.map(lambda centre, g: centre.astype(g.dtype), batch.mean, gradient)
        transformation = self._inner_optimizer(state.control, state.begun)
        updates, inner = transformation.update(mean, state.inner, params, **extra)
        inner = optax.tree.cast_like(inner, state.inner)  # wider gradients widen some averages
        return updates, (control, state.begun + state.accumulated, jnp.zeros([], jnp.int32), inner)

    def _controlled(self, control: BatchState, batch: Moments, samples: Int[Array, ""]) -> BatchState:
        measure = functools.partial(batch.estimate, samples, self.controller.geometry)
        return self.controller.update(control, measure, samples)

    @property
    def _view(self) -> ViewRule | None:
        return self.routing.optional_view if self.controller.geometry == SPECTRAL else None

    def _inner_optimizer(
        self, control: BatchState, microbatches: Int[Array, ""]
    ) -> optax.GradientTransformationExtraArgs:
        rate = control.learning_rate_factor * self.schedule(microbatches)
        return optax.with_extra_args_support(self.optimizer(lambda _: rate))


def _sums(moments: Moments) -> MomentSums:
    units = jnp.array(jax.tree.leaves(moments.units))
    return MomentSums(moments.count, moments.mean, units, moments.squares, moments.grams)


def _moments(sums: MomentSums, views: Views | None) -> Moments:
    leaves, structure = jax.tree.flatten(sums.mean)
    units = [unit.astype(leaf.dtype) for unit, leaf in zip(sums.units, leaves, strict=True)]
    return Moments(sums.count, sums.mean, structure.unflatten(units), sums.squares, sums.grams, views)


def _accumulated(
    views: Views | None,
    first: Bool[Array, ""],
    due: Bool[Array, ""],
    sums: MomentSums,
    parts: Sequence[PyTree],
) -> MomentSums:
    """With the parts of one more micro-batch, or these alone where they are the batch's first.

    For a batch that is not measured, in the mean alone.
    """

    moments = _moments(sums, views)

    def measured():
        begun = jax.lax.cond(first, moments.restart, moments.add, parts[0])
        return functools.reduce(Moments.add, parts[1:], begun)

    def averaged():
        count, mean = jax.tree.map(lambda total: jnp.where(first, 0, total), (moments.count, moments.mean))
        return functools.reduce(Moments.add_to_mean, parts, replace(moments, count=count, mean=mean))

    return _sums(jax.lax.cond(due, measured, averaged))


def _check_sizes(
    controller: BatchController, microbatch_size: int, num_microbatches: ArrayLike | None
) -> None:
    check_number("microbatch_size", microbatch_size, 1)
    if num_microbatches is not None:
        check_number("num_microbatches", num_microbatches, 1)
    for name in ("batch_size", "max_batch_size", "quantum"):
        size = getattr(controller, name)
        if not isinstance(size, jax.core.Tracer) and np.asarray(size) % microbatch_size:
            raise ValueError(f"{name} must be a multiple of microbatch_size={microbatch_size}, got {size}")


def _check_parts(controller: BatchController, microbatch_size: int, parts: int) -> None:
    size = controller.batch_size
    if not isinstance(size, jax.core.Tracer) and np.asarray(size) * parts < 2 * microbatch_size:
        raise ValueError(
            f"the noise in a batch of {size} examples cannot be told from one gradient: take smaller"
            " micro-batches, or hand over part_gradients"
        )
