"""Schedule-free learning: an average of all iterates in place of a decaying learning rate."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from optim.options import at_step, check_number


class ScheduleFreeState(NamedTuple):
    """What is kept beside y, the parameters that gradients are taken at; at least in float32.

    Attributes:
      fast: z, what the inner steps move.
      average: x, the weighted mean of all z.
      weight: of the mean so far, Σ w.
      largest: the highest learning rate so far.
      inner: the inner optimizer's state.
      step: steps so far.
    """

    fast: PyTree
    average: PyTree
    weight: Float[Array, ""]
    largest: Float[Array, ""]
    inner: PyTree
    step: Int[Array, ""]

    def evaluation_params(self, params: PyTree) -> PyTree:
        """The average, in the parameters' dtypes."""
        return jax.tree.map(lambda x, y: x.astype(y.dtype), self.average, params)


def schedule_free(
    inner: Callable[[optax.Schedule], optax.GradientTransformation],
    learning_rate: optax.ScalarOrSchedule,
    *,
    beta: ArrayLike = 0.9,
    weight_power: ArrayLike = 2.0,
) -> optax.GradientTransformationExtraArgs:
    """Steps at a mixture of an average and what it averages, so that no horizon need be known.

    With the inner optimizer's step u_t at the learning rate α_t, from gradients at y,

        z ← z + u_t(y),  x ← (1 - c) x + c z,  y ← (1 - β) z + β x,

    c = w_t / Σ_{s ≤ t} w_s and w_t = (max_{s ≤ t} α_s)^r. The parameters are y; evaluate x, which is
    `optim.evaluation_params(state, params)`. β = 0 is Polyak's and Ruppert's average. On a quadratic of
    curvature h SGD inside is stable for αh < 2 / (1 - β), 20 by default. z, x and the sum are kept in float32
    where the parameters have fewer bits: in bfloat16 the sum would stop growing, and the average with it.

    β is the momentum: an inner one would be a second. Keep a warm-up, and no decay. Source: Defazio et al.
    (2024), arXiv:2405.15682, whose learning rates are 1 to 10 times AdamW's and 10 to 50 times SGD's.

    Args:
      inner: schedule → transformation without momentum, such as `optax.sgd` or
        `functools.partial(optax.adamw, b1=0.0)`; weight decay acts at y.
      learning_rate: α.
      beta: β in [0, 1).
      weight_power: r ≥ 0; 0 averages all steps alike.

    Raises ValueError where β or r is outside what it may be, or, in an update, there are no params.
    """
    check_number("beta", beta, 0, 1)
    check_number("weight_power", weight_power, 0)

    def inner_at(rate: ArrayLike) -> optax.GradientTransformationExtraArgs:
        return optax.with_extra_args_support(inner(lambda _: rate))

    def init(params):
        fast, average = _wide(params), _wide(params)
        zero = jnp.zeros(())
        state = inner_at(zero).init(fast)
        return ScheduleFreeState(fast, average, zero, jnp.zeros(()), state, jnp.zeros((), jnp.int32))

    def update(gradient, state, params=None, **extra):
        if params is None:
            raise ValueError("params are needed to go schedule-free: call update(updates, state, params)")
        rate = jnp.asarray(at_step(learning_rate, state.step), state.weight.dtype)
        mixed = jax.tree.map(lambda z, x: (1 - beta) * z + beta * x, state.fast, state.average)
        steps, own = inner_at(rate).update(_wide(gradient), state.inner, mixed, **extra)
        fast = optax.apply_updates(state.fast, steps)
        largest = jnp.maximum(state.largest, rate)
        weight = state.weight + largest**weight_power
        share = jnp.where(weight > 0, largest**weight_power / jnp.where(weight > 0, weight, 1), 0)
        average = jax.tree.map(lambda x, z: x + share.astype(x.dtype) * (z - x), state.average, fast)
        updates = jax.tree.map(
            lambda y, z, x: ((1 - beta) * z + beta * x - y).astype(y.dtype), params, fast, average
        )
        step = optax.safe_increment(state.step)
        return updates, ScheduleFreeState(fast, average, weight, largest, own, step)

    return optax.GradientTransformationExtraArgs(init, update)


def _wide(tree: PyTree) -> PyTree:
    """A copy with at least the bits of float32."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, jnp.promote_types(leaf.dtype, jnp.float32)), tree)
