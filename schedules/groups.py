"""Families whose curves are two, one a group of parameters, as for Muon with an auxiliary Adam."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from schedules.family import Family, Params
from schedules.interval import Interval

RATIO = "ratio"
RATIOS = Interval(0.0, math.inf, open_low=True)  # that mean anything


class GroupedFamily(Family):
    """A family of pairs: a curve for the first group, and `ratio` times it for the second.

    The ratio is the last of its parameters. Multipliers are those of the first group's base learning rate; of
    the second group they may be above 1.
    """

    def curve_at(self, x: Float[Array, "*batch"], params: Params) -> Float[Array, "groups *batch"]:
        curve = super().curve_at(x, shape_params(params))
        return jnp.stack([curve, jnp.asarray(params[RATIO], x.dtype) * curve])


def in_groups(family: Family, ratios: Interval) -> GroupedFamily:
    """The family in two groups.

    >>> from schedules import FAMILIES
    >>> linear = in_groups(FAMILIES["linear"], Interval(0.01, 100.0, log=True))
    >>> linear.multipliers({"warmup": 0.0, "ratio": 0.5}, num_steps=2).tolist()
    [[1.0, 0.5], [0.5, 0.25]]
    """
    domain, space = {**family.domain, RATIO: RATIOS}, {**family.space, RATIO: ratios}
    return GroupedFamily(family.name, family.curve, domain, space, family.options)


def shape_params(params: Params) -> Params:
    """The parameters that are the family's own, without the ratio."""
    return {name: value for name, value in params.items() if name != RATIO}


def group_factors(params: Params, groups: Sequence[str]) -> dict[str, float]:
    """What the base learning rate is multiplied by for each of the two groups."""
    return dict(zip(groups, (1.0, params[RATIO]), strict=True))


def grouped_as(other: Family, family: Family) -> Family:
    """The family in groups where the other one is, with the same ratios."""
    return in_groups(family, other.space[RATIO]) if isinstance(other, GroupedFamily) else family
