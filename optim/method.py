"""What all matrix methods share: a direction for matrices, a fallback for the rest, rates and decays."""

from collections.abc import Sequence

import optax
from jax.typing import ArrayLike

from optim.options import check_number
from optim.routing import Kind, Routing, routed
from optim.step import Decay, descend

ADAM = optax.scale_by_adam()


def matrix_method(
    direction: Sequence[optax.GradientTransformation],
    learning_rate: optax.ScalarOrSchedule,
    weight_decay: ArrayLike,
    decay: Decay,
    fallback: optax.GradientTransformation,
    fallback_learning_rate: optax.ScalarOrSchedule | None,
    fallback_weight_decay: ArrayLike,
    routing: Routing,
    *,
    kinds: tuple[Kind, ...] = ("hidden",),
) -> optax.GradientTransformationExtraArgs:
    """Descend along `direction` on leaves of the given kinds and along `fallback` on all others.

    The fallback has its own learning rate, that of the matrices when None, and its own weight decay. Where
    the decay follows the schedule alone, the matrices' schedule is the one it follows.
    """
    check_number("weight_decay", weight_decay, 0)
    check_number("fallback_weight_decay", fallback_weight_decay, 0)
    if fallback_learning_rate is not None:
        check_number("fallback_learning_rate", fallback_learning_rate, 0)
    other_rate = learning_rate if fallback_learning_rate is None else fallback_learning_rate
    followed = learning_rate if decay.coupling == "schedule" else other_rate
    step = descend(learning_rate, decay.fraction(weight_decay, learning_rate), decay.mask)
    other_step = descend(other_rate, decay.fraction(fallback_weight_decay, followed), decay.mask)
    return routed(optax.chain(*direction, step), optax.chain(fallback, other_step), routing, kinds=kinds)
