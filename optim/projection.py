"""Gradients and updates without their part along the weights, which in many networks only makes them grow."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from geometry import EUCLIDEAN
from geometry.matrices import leaf_path
from geometry.precision import binary_unit, widened
from optim.options import at_step, check_fraction, check_number
from optim.routing import BY_NAME, Routing


def orthogonal_gradient() -> optax.GradientTransformation:
    """⟂Grad: g without its part along w, at the length it had, tensor by tensor (arXiv:2501.04697).

    g⟂ = g - (⟨w, g⟩/⟨w, w⟩) w, then ‖g‖ g⟂/‖g⟂‖. What is along w but for rounding becomes 0, where the
    published code takes a full step of rounding noise; where w is 0, g stays. Leaves of fewer than two axes
    pass: a number is always along itself. Weights under a normalisation have such gradients anyway.

    Raises ValueError in an update without params.
    """

    def projected(gradient, weight):
        if gradient.ndim < 2:
            return gradient
        length = EUCLIDEAN.norm(gradient)
        tangent = _without(weight, gradient, range(gradient.ndim))
        shorter = EUCLIDEAN.norm(tangent)
        radial = shorter <= 8 * jnp.finfo(gradient.dtype).eps * length
        # divided first: both lengths may be near the ends of the range of floats
        stretched = length * (tangent / jnp.where(radial, 1, shorter))
        return jnp.where(radial, 0, stretched).astype(gradient.dtype)

    def update(updates, state, params=None):
        _check_params(params, "orthogonal_gradient")
        return jax.tree.map(projected, updates, jax.tree.map(jnp.asarray, params)), state

    return optax.GradientTransformation(optax.init_empty_state, update)


class NormControlState(NamedTuple):
    """Updates so far, and the state of the optimizer inside."""

    count: Int[Array, ""]
    inner: PyTree


def norm_control(
    inner: optax.GradientTransformation,
    delta: ArrayLike = 0.1,
    ratio: ArrayLike = 0.1,
    decay: optax.ScalarOrSchedule = 0.0,
    *,
    routing: Routing = BY_NAME,
) -> optax.GradientTransformationExtraArgs:
    """AdamP's and SGDP's projection around any optimizer: no step along weights whose scale does not matter.

    Momentum makes the norm of such weights grow by some (1 + β)/(1 - β) times what the steps themselves do,
    and the effective learning rate fall. A leaf counts as one where the gradient is orthogonal to it:

        max |cos(w, g)| < δ/√dim  over its channels, or else of the whole leaf

    with the channels the vectors of weights that make one output. There the update loses its part along each
    channel, or along the whole, and the weight decay is multiplied by `ratio`. A gradient that is unrelated
    to a channel passes for orthogonal to it in some 8 % of cases, whatever the dimension. (arXiv:2006.08217,
    whose code is PyTorch's, with outputs first; SGDP divides its decay by 1 - momentum.)

    Args:
      inner: the optimizer whose updates are projected, without weight decay of its own.
      delta: δ in (0, 1).
      ratio: what the decay of a leaf that counts is multiplied by.
      decay: the fraction of a weight that a step removes, a number or a schedule; see `Decay.fraction`.
      routing: how leaves are seen as matrices, whose columns are the channels; leaves that are none are
        stepped and decay as usual.

    Raises:
      ValueError: a number is outside what it may be; or, in an update, params are missing.
    """
    check_fraction("delta", delta)
    check_number("ratio", ratio, 0)
    check_number("decay", decay, 0, 1)
    inner = optax.with_extra_args_support(inner)

    def init(params):
        return NormControlState(jnp.zeros([], jnp.int32), inner.init(params))

    def update(updates, state, params=None, **extra):
        _check_params(params, "norm_control")
        stepped, inner_state = inner.update(updates, state.inner, params, **extra)
        fraction = at_step(decay, state.count)

        def controlled(key_path, step, gradient, weight):
            view = routing.optional_view(leaf_path(key_path), weight.shape)
            free, share = widened(step), fraction
            if view is not None:
                free, orthogonal = _freed(step, gradient, weight, view.rows, delta)
                share = jnp.where(orthogonal, ratio * fraction, fraction)
            return (free - share * widened(weight)).astype(step.dtype)

        weights = jax.tree.map(jnp.asarray, params)
        tree = jax.tree_util.tree_map_with_path(controlled, stepped, updates, weights)
        return tree, NormControlState(optax.safe_increment(state.count), inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _freed(
    step: Array, gradient: Array, weight: Array, rows: Sequence[int], delta: ArrayLike
) -> tuple[Array, Bool[Array, ""]]:
    """The step without its part along the channels or the leaf, where the gradient is orthogonal to them, and
    whether it is to either."""
    everything = range(weight.ndim)
    by_channel, whole = (_orthogonal(weight, gradient, axes, delta) for axes in (rows, everything))
    free = jnp.where(whole, _without(weight, step, everything), widened(step))
    return jnp.where(by_channel, _without(weight, step, rows), free), by_channel | whole


def _orthogonal(weight: Array, gradient: Array, axes: Sequence[int], delta: ArrayLike) -> Bool[Array, ""]:
    """Whether max |cos(w, g)| < δ/√dim over the vectors along `axes`; those that are 0 are."""
    size = math.prod(weight.shape[axis] for axis in axes)
    weight, gradient = _unitless(weight), _unitless(gradient)
    total = functools.partial(jnp.sum, axis=tuple(axes))
    norms = jnp.sqrt(total(weight**2)) * jnp.sqrt(total(gradient**2))
    cosines = jnp.abs(total(weight * gradient)) / jnp.where(norms == 0, 1, norms)
    return jnp.all(cosines < delta / math.sqrt(size))


def _without(weight: Array, x: Array, axes: Sequence[int]) -> Float[Array, "..."]:
    """x less its part along the weights, of each vector along `axes`."""
    weight = _unitless(weight)
    total = functools.partial(jnp.sum, axis=tuple(axes), keepdims=True)
    square = total(weight**2)
    share = total(weight * widened(x)) / jnp.where(square == 0, 1, square)
    return widened(x) - share * weight


def _unitless(x: Array) -> Array:
    """x over a power of two near its largest entry, so that squares stay in the range of floats."""
    return widened(x) / binary_unit(widened(x))


def _check_params(params: PyTree | None, method: str) -> None:
    if params is None:
        raise ValueError(f"{method} needs params: call update(updates, state, params)")
