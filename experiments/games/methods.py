"""The methods that play: the rules of conjugate gradients, and what they are held against."""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import optax

import optim


class Method(NamedTuple):
    """A method of both players.

    Attributes:
      build: schedule → gradient transformation.
      together: whether the players move at once whatever is said, since it looks ahead at both.
      normalised: whether its steps do not depend on the size of gradients.
    """

    build: Callable[[optax.Schedule], optax.GradientTransformation]
    together: bool = False
    normalised: bool = False


def _conjugate(rule: str, schedule: optax.Schedule) -> optax.GradientTransformation:
    return optax.chain(optim.conjugate_gradient(rule), optax.scale_by_learning_rate(schedule))


RULES: Mapping[str, Method] = MappingProxyType(
    {rule: Method(functools.partial(_conjugate, rule)) for rule in optim.CONJUGATE_RULES}
)
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "sgd": Method(optax.sgd),
        "momentum": Method(functools.partial(optax.sgd, momentum=0.9)),
        "adam": Method(functools.partial(optax.adam, b1=0.5), normalised=True),
        "extragradient": Method(lambda schedule: optim.extragradient(optax.sgd(schedule)), together=True),
        "optimistic": Method(optax.optimistic_gradient_descent),
        **RULES,
    }
)
