"""Sharpness-aware minimisation: the step that the gradient a little uphill asks for."""

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from geometry.moments import unstacked
from optim.ascent import Axes, GradientFunction, ascended, check_gradient_function, check_whole
from optim.options import check_number


def sharpness_aware(
    inner: optax.GradientTransformation,
    *,
    radius: ArrayLike,
    adaptive: bool = False,
    parts: int = 1,
    axis_name: Axes = None,
) -> optax.GradientTransformationExtraArgs:
    """SAM: the step of `inner` on the gradient of the same batch at w + ε, ε = ρ g/‖g‖ (arXiv:2010.01412).

    ASAM, where it is adaptive: ε = ρ T² g/‖T g‖ with T = |w|, which does not depend on how the network is
    scaled (arXiv:2102.11600, whose T adds 0.01); weights that are 0 are not moved, and where all are, nothing
    is. Without a gradient ε is 0. The norm is that of the whole tree.

    `update(updates, state, params, grad_fn=...)` is given g and takes one more gradient, `grad_fn(w + ε)`.
    The state is that of `inner`, which counts one step: schedules inside go at their usual pace. Under
    `optax.MultiSteps`, where `grad_fn` is of a micro-batch and g is a mean of several, ε would be wrong, and
    nothing here can tell: put it inside, around `inner`, and each micro-batch ascends by itself.

    >>> gradient = jax.grad(lambda w: 2 * w**2)
    >>> tx = sharpness_aware(optax.sgd(0.25), radius=0.1)
    >>> w = jnp.float32(0.1)  # where |w| = α a ρ / (2 - α a) of curvature a: it ends going to and fro
    >>> updates, _ = tx.update(gradient(w), tx.init(w), w, grad_fn=gradient)
    >>> round(float(w + updates), 6)
    -0.1

    Args:
      inner: the optimizer that steps; it may be wrapped in `optax.masked`, `partition` or `MultiSteps`.
      radius: ρ, the length of ε; of |w| where adaptive: some ten times as large then.
      adaptive: whether to scale ε with the weights.
      parts: m of m-sharpness: the batch is split in so many equal parts, each with an ε of its own from its
        own gradient. `update` then needs `part_gradients`, the gradients of the parts at w stacked on a
        leading axis, as `workloads.train(parts=...)` hands them over, and calls `grad_fn(params, part)` under
        `vmap`, `part` a number from 0 on.
      axis_name: the mesh axes over which the parameters are split, inside `shard_map` alone; the norm is then
        of all ranks' parts. Ranks that hold different examples need none: where g and `grad_fn` are averages
        over them, all take one ε, and where they are each rank's own, `inner` averages.

    Raises:
      ValueError: `radius` is negative or `parts` below 1; at init, `params` are a masked part; or, in an
        update, `params`, `grad_fn` or `part_gradients` of so many parts are missing.
    """
    check_number("radius", radius, 0)
    if parts < 1:
        raise ValueError(f"parts must be at least 1, got {parts}")
    inner = optax.with_extra_args_support(inner)

    def uphill(params: PyTree, gradient: PyTree) -> PyTree:
        return ascended(params, gradient, radius, adaptive=adaptive, axis_name=axis_name)

    def of_parts(params: PyTree, grad_fn: GradientFunction, gradients: PyTree | None) -> PyTree:
        """The stacked gradients of the parts, each above its own."""
        if {len(leaf) for leaf in jax.tree.leaves(gradients)} != {parts}:
            raise ValueError(f"sharpness_aware needs part_gradients, those of its {parts} parts stacked")
        perturbed = jax.vmap(uphill, (None, 0))(params, gradients)
        return jax.vmap(grad_fn)(perturbed, jnp.arange(parts))

    def init(params):
        check_whole(params, "sharpness_aware")
        return inner.init(params)

    def update(updates, state, params=None, *, grad_fn=None, part_gradients=None, **extra):
        check_gradient_function(params, grad_fn, "sharpness_aware")
        if parts == 1:
            gradient = grad_fn(uphill(params, updates))
        else:
            part_gradients = of_parts(params, grad_fn, part_gradients)
            gradient = jax.tree.map(lambda *leaves: sum(leaves) / parts, *unstacked(part_gradients))
        return inner.update(gradient, state, params, part_gradients=part_gradients, **extra)

    return optax.GradientTransformationExtraArgs(init, update)
