"""What all matrix methods share: a direction for matrices, a fallback for the rest, rates and decays."""

import inspect
from collections.abc import Callable, Sequence

import optax
from jax.typing import ArrayLike

from optim.options import check_number
from optim.routing import BY_NAME, Kind, Routing, routed
from optim.step import COUPLED, Decay, descend

ADAM = optax.scale_by_adam()


def matrix_method(
    direction: Sequence[optax.GradientTransformation],
    learning_rate: optax.ScalarOrSchedule,
    kinds: tuple[Kind, ...] = ("hidden",),
    *,
    weight_decay: ArrayLike = 0.0,
    decay: Decay = COUPLED,
    fallback: optax.GradientTransformation = ADAM,
    fallback_learning_rate: optax.ScalarOrSchedule | None = None,
    fallback_weight_decay: ArrayLike = 0.0,
    routing: Routing = BY_NAME,
) -> optax.GradientTransformationExtraArgs:
    """Descend along `direction` on leaves of the given kinds and along `fallback` on all others.

    The fallback has its own learning rate, that of the matrices when None, and its own weight decay. Where
    the decay follows the schedule alone, the matrices' schedule is the one it follows. `muon` tells of each
    argument.
    """
    check_number("weight_decay", weight_decay, 0)
    check_number("fallback_weight_decay", fallback_weight_decay, 0)
    if fallback_learning_rate is not None:
        check_number("fallback_learning_rate", fallback_learning_rate, 0)
    other_rate = learning_rate if fallback_learning_rate is None else fallback_learning_rate
    followed = learning_rate if decay.coupling == "schedule" else other_rate

    def step(rate, fraction):
        return descend(rate, fraction, decay.mask, cautious=decay.cautious)

    matrix_step = step(learning_rate, decay.fraction(weight_decay, learning_rate))
    other_step = step(other_rate, decay.fraction(fallback_weight_decay, followed))
    others = optax.chain(fallback, other_step)
    return routed(optax.chain(*direction, matrix_step), others, routing, kinds=kinds)


def with_arguments_of(target: Callable) -> Callable[[Callable], Callable]:
    """Let a signature name the keyword arguments that its function hands on to `target` as `**shared`.

    `optax.inject_hyperparams` injects what a signature names, and `help` shows it.
    """

    def decorate(function):
        own = inspect.signature(function)
        named = {name: p for name, p in own.parameters.items() if p.kind is not p.VAR_KEYWORD}
        offered = inspect.signature(target).parameters.items()
        shared = {name: p for name, p in offered if p.kind is p.KEYWORD_ONLY and name not in named}
        function.__signature__ = own.replace(parameters=[*named.values(), *shared.values()])
        return function

    return decorate
