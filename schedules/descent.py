"""Descent on a differentiable function of a vector, within a budget of evaluations.

Both methods evaluate the function and its gradient at one place in their program, once a turn of a loop, so
that they compile as fast as the function does. Where the function or its gradient is not finite, it counts as
+inf and no direction is taken from there.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Objective = Callable[[Float[Array, "dims"]], Float[Array, ""]]

MEMORY = 10  # steps that L-BFGS remembers
SUFFICIENT = 1e-4  # Armijo: the part of the decrease promised by the gradient that a step must keep
NO_GAIN = 1e-10  # what a step must gain for L-BFGS to go on
SHORTEST = 2.0**-30  # of the step that L-BFGS proposes
FIRST_RATE = 0.1  # of Adam


class Descent(NamedTuple):
    """The lowest point that a descent came through.

    Attributes:
      point: where.
      value: the function there, +inf where it was finite nowhere.
      evaluations: how many were made.
    """

    point: Float[Array, "dims"]
    value: Float[Array, ""]
    evaluations: Array


Minimiser = Callable[[Objective, Float[Array, "dims"], int], Descent]


class _Search(NamedTuple):
    point: Array
    value: Array
    gradient: Array
    memory: optax.OptState
    direction: Array
    step: Array
    gain: Array
    evaluations: Array


def lbfgs(objective: Objective, start: Float[Array, "dims"], evaluations: int) -> Descent:
    """L-BFGS with backtracking: the step is halved until it keeps 1e-4 of the decrease that was promised.

    Ends early where a step gains less than 1e-10. A direction that does not lead down makes it forget all
    curvature and start again along the gradient. Source: Nocedal and Wright (2006), algorithm 7.5.
    """
    curvature = optax.scale_by_lbfgs(memory_size=MEMORY)

    def unfinished(search: _Search) -> Array:
        return (search.evaluations < evaluations) & (search.gain > NO_GAIN) & (search.step > SHORTEST)

    def turn(search: _Search) -> _Search:
        trial = search.point - search.step * search.direction
        value, gradient = _evaluated(objective, trial)
        promised = search.step * jnp.vdot(search.direction, search.gradient)
        counted = search._replace(evaluations=search.evaluations + 1)
        return jax.lax.cond(
            value <= search.value - SUFFICIENT * promised,
            lambda: _arrived(counted, curvature, trial, value, gradient),
            lambda: counted._replace(step=search.step / 2),
        )

    no_momentum, infinite = jnp.zeros_like(start), jnp.full((), jnp.inf, start.dtype)
    begun = _Search(
        point=start,
        value=infinite,
        gradient=no_momentum,
        memory=curvature.init(start),
        direction=no_momentum,  # the first turn evaluates the start itself
        step=jnp.ones((), start.dtype),
        gain=infinite,
        evaluations=jnp.zeros((), int),
    )
    found = jax.lax.while_loop(unfinished, turn, begun)
    return Descent(found.point, found.value, found.evaluations)


def adam(objective: Objective, start: Float[Array, "dims"], evaluations: int) -> Descent:
    """Adam whose rate falls from 0.1 along a cosine to zero; it uses up all evaluations."""
    transformation = optax.adam(optax.cosine_decay_schedule(FIRST_RATE, evaluations))

    def turn(carry, _):
        point, state, lowest = carry
        value, gradient = _evaluated(objective, point)
        better = value < lowest.value
        lowest = Descent(
            jnp.where(better, point, lowest.point), jnp.minimum(value, lowest.value), lowest.evaluations + 1
        )
        update, state = transformation.update(gradient, state)
        return (point + update, state, lowest), None

    nowhere = Descent(start, jnp.full((), jnp.inf, start.dtype), jnp.zeros((), int))
    begun = start, transformation.init(start), nowhere
    return jax.lax.scan(turn, begun, length=evaluations)[0][2]


MINIMISERS: Mapping[str, Minimiser] = MappingProxyType({"lbfgs": lbfgs, "adam": adam})


def _evaluated(objective: Objective, point: Array) -> tuple[Array, Array]:
    value, gradient = jax.value_and_grad(objective)(point)
    finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
    return jnp.where(finite, value, jnp.inf), jnp.where(finite, gradient, 0)


def _arrived(search: _Search, curvature, point: Array, value: Array, gradient: Array) -> _Search:
    direction, memory = curvature.update(gradient, search.memory, point)
    forgetful = curvature.update(gradient, curvature.init(point), point)
    downhill = jnp.vdot(direction, gradient) > 0
    direction, memory = jax.tree.map(
        lambda kept, new: jnp.where(downhill, kept, new), (direction, memory), forgetful
    )
    return search._replace(
        point=point,
        value=value,
        gradient=gradient,
        memory=memory,
        direction=direction,
        step=jnp.ones_like(search.step),
        gain=search.value - value,
    )
