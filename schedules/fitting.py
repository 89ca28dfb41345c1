"""The best of a family by gradients: for a loss, or nearest to a given schedule.

A family's shape is a point of angles, one a parameter in the order of its space: the angle θ is the fraction
sin²(θ/2) of the parameter's interval, which reaches both ends and never leaves it. A descent from an angle of
exactly 0 keeps it there. That matters for `warmup`: the first learning rate is base_lr without a warm-up and
0 with any, however short, so no gradient leads from one to the other and starts must lie in both.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from schedules.descent import Descent, Minimiser, lbfgs
from schedules.family import Family
from schedules.optimal import Loss

Angles = Float[Array, "dims"]
Shape = Callable[[Angles], Float[Array, "steps"]]


class FamilyFit(NamedTuple):
    """A member of a family.

    Attributes:
      params: its shape parameters.
      base_lr: its base learning rate.
      learning_rates: its schedule.
      value: what was minimised: the loss, or the distance from the target over the target's norm.
    """

    params: Mapping[str, float]
    base_lr: float
    learning_rates: Float[Array, "steps"]
    value: float


def fit_family(
    family: Family,
    loss: Loss,
    starts: Float[Array, "starts dims"],
    num_steps: int,
    evaluations: int,
    minimise: Minimiser = lbfgs,
) -> FamilyFit:
    """The family's member of the lowest loss that the starts lead to, over shape and base learning rate.

    Args:
      family: whose space is searched.
      loss: learning rates [steps] → a positive number, differentiable.
      starts: log base learning rate and angles, such as `family_starts`.
      num_steps: in a schedule.
      evaluations: of the loss and its gradient, at most, from each start.
      minimise: how to descend.
    """
    shape = family_shape(family, num_steps)
    end = _lowest(lambda start: fit_shape(shape, loss, start, evaluations, minimise), starts)
    base_lr = jnp.exp(end.point[0])
    params = shape_params(family, end.point[1:])
    return FamilyFit(params, float(base_lr), base_lr * shape(end.point[1:]), float(jnp.exp(end.value)))


def project(
    family: Family,
    target: Float[Array, "steps"],
    starts: Float[Array, "starts dims"],
    evaluations: int,
    minimise: Minimiser = lbfgs,
) -> FamilyFit:
    """The family's member nearest to a schedule in least squares that the starts lead to.

    For any shape the best base learning rate is ⟨target, shape⟩ / ⟨shape, shape⟩.

    Args:
      family: whose space is searched.
      target: the schedule to come near to.
      starts: angles, such as those of `family_starts`.
      evaluations: of the distance and its gradient, at most, from each start.
      minimise: how to descend.
    """
    shape = family_shape(family, target.shape[0])
    end = _lowest(lambda start: project_shape(shape, target, start, evaluations, minimise), starts)
    multipliers = shape(end.point)
    base_lr = best_scale(target, multipliers)
    distance = jnp.sqrt(_relative_square(target, multipliers))
    return FamilyFit(shape_params(family, end.point), float(base_lr), base_lr * multipliers, float(distance))


def fit_shape(
    shape: Shape, loss: Loss, start: Float[Array, "dims"], evaluations: int, minimise: Minimiser
) -> Descent:
    """One descent on the log loss from a log base learning rate and angles; jittable and mappable."""
    return minimise(lambda point: jnp.log(loss(jnp.exp(point[0]) * shape(point[1:]))), start, evaluations)


def project_shape(
    shape: Shape, target: Float[Array, "steps"], start: Angles, evaluations: int, minimise: Minimiser
) -> Descent:
    """One descent on the squared distance, over that of the target from 0; jittable and mappable."""
    return minimise(lambda angles: _relative_square(target, shape(angles)), start, evaluations)


def family_shape(family: Family, num_steps: int) -> Shape:
    """(angles) → multipliers."""
    return lambda angles: family.multipliers(_params(family, angles), num_steps)


def shape_params(family: Family, angles: Angles) -> dict[str, float]:
    """The shape parameters that angles stand for."""
    return {name: float(value) for name, value in _params(family, angles).items()}


def family_starts(
    family: Family, base_lrs: tuple[float, float], key: PRNGKeyArray, count: int
) -> Float[Array, "starts dims"]:
    """Log base learning rates and angles: uniform fractions of every interval, every other start without a
    warm-up where the family can do without."""
    lr_key, shape_key = jax.random.split(key)
    low, high = base_lrs
    log_lrs = jax.random.uniform(lr_key, (count, 1), minval=jnp.log(low), maxval=jnp.log(high))
    angles = jnp.arccos(1 - 2 * jax.random.uniform(shape_key, (count, len(family.space))))
    if "warmup" in family.space:
        angles = angles.at[::2, list(family.space).index("warmup")].set(0)
    return jnp.concatenate([log_lrs, angles], axis=1)


def _params(family: Family, angles: Angles) -> dict[str, Float[Array, ""]]:
    fractions = jnp.sin(angles / 2) ** 2
    return {name: value[0] for name, value in family.from_unit(fractions[None, :]).items()}


def _lowest(descend: Callable[[Array], Descent], starts: Array) -> Descent:
    ends = jax.jit(lambda starts: jax.lax.map(descend, starts))(starts)
    return jax.tree.map(lambda leaf: leaf[np.argmin(ends.value)], ends)


def best_scale(target: Array, multipliers: Array) -> Array:
    return jnp.vdot(target, multipliers) / jnp.vdot(multipliers, multipliers)


def _relative_square(target: Array, multipliers: Array) -> Array:
    rest = target - best_scale(target, multipliers) * multipliers
    return jnp.vdot(rest, rest) / jnp.vdot(target, target)
