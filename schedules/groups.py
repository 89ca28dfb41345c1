"""Families whose curves are two, one a group of parameters, as for Muon with an auxiliary Adam."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float

from schedules.family import Family, Params
from schedules.interval import Interval

RATIO = "ratio"
SECOND = "second_"  # begins the names of what the second group's shape has of its own
RATIOS = Interval(0.0, math.inf, open_low=True)  # that mean anything


class GroupedFamily(Family):
    """A family of pairs: a curve for the first group, and `ratio` times another one for the second.

    The other one is of the same shape, or of one whose parameters come after the first's, `SECOND` before
    their names. The ratio, of the base learning rates, is the last parameter. Multipliers are those of the
    first group's base learning rate; of the second group they may be above 1.
    """

    @property
    def own_shapes(self) -> bool:
        """Whether each group has a shape of its own."""
        return any(name.startswith(SECOND) for name in self.space)

    def curve_at(self, x: Float[Array, "*batch"], params: Params) -> Float[Array, "groups *batch"]:
        first, second = group_shapes(params)
        ratio = jnp.asarray(params[RATIO], x.dtype)
        return jnp.stack([super().curve_at(x, first), ratio * super().curve_at(x, second)])


def in_groups(family: Family, ratios: Interval, own_shapes: bool = False) -> GroupedFamily:
    """The family in two groups, which share their shape or have one each.

    >>> from schedules import FAMILIES
    >>> linear = in_groups(FAMILIES["linear"], Interval(0.01, 100.0, log=True))
    >>> linear.multipliers({"warmup": 0.0, "ratio": 0.5}, num_steps=2).tolist()
    [[1.0, 0.5], [0.5, 0.25]]
    >>> list(in_groups(FAMILIES["linear"], linear.space["ratio"], own_shapes=True).space)
    ['warmup', 'second_warmup', 'ratio']
    """

    def paired(intervals: Mapping[str, Interval], ratio: Interval) -> dict[str, Interval]:
        own = {SECOND + name: interval for name, interval in intervals.items()} if own_shapes else {}
        return {**intervals, **own, RATIO: ratio}

    domain, space = paired(family.domain, RATIOS), paired(family.space, ratios)
    return GroupedFamily(family.name, family.curve, domain, space, family.options)


def group_shapes(params: Params) -> tuple[Params, Params]:
    """The parameters of each group's shape, of all parameters' where there are no groups."""
    shapes = {name: value for name, value in params.items() if name != RATIO}
    second = {name: value for name, value in shapes.items() if name.startswith(SECOND)}
    first = {name: value for name, value in shapes.items() if name not in second}
    return first, {name.removeprefix(SECOND): value for name, value in second.items()} or first


def grouped_as(other: Family, family: Family) -> Family:
    """The family in groups where the other one is, with the same ratios, and as many shapes."""
    if not isinstance(other, GroupedFamily):
        return family
    return in_groups(family, other.space[RATIO], other.own_shapes)
