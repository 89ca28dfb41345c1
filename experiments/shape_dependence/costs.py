"""Whether the varied option changes the best shape.

That a shape found elsewhere does worse than the one found here is not enough: a search finds its optimum
only nearly, and one may have come nearer than the other. But what a better find gains in one setting it gains
in the other. So the two costs, of each shape in the other's setting, are taken together, as
(1 + there)(1 + back) - 1: zero where one shape is merely the better find, by the same factor in both. Costs
that are differences, as some score is not positive, are added up for that; see `Scale`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.study.showing.cells import NONE
from experiments.study.showing.claims import Claim, above
from schedules.search import Estimate, Scale

Costs = Mapping[str, Mapping[str, Estimate]]  # by the setting trained in, by that whose shape it is


def cost_claims(costs: Costs, reference: str, scale: Scale = Scale.RELATIVE) -> list[Claim]:
    """Of every other setting, that the reference's shape costs there, its shape in the reference, and both
    together."""
    claims = []
    for name in _others(costs, reference):
        forth, back = costs[name][reference], costs[reference][name]
        effects = {
            f"cost of {reference}'s shape there": forth,
            f"cost of its shape in {reference}": back,
            "both together": together(forth, back, scale),
        }
        claims += [Claim(statement, name, effect, above(0)) for statement, effect in effects.items()]
    return claims


def together(forth: Estimate, back: Estimate, scale: Scale = Scale.RELATIVE) -> Estimate:
    """(1 + there)(1 + back) - 1, or there + back on the ABSOLUTE scale, with the interval of all that the two
    intervals allow.

    >>> together(Estimate(0.5, 0.25, 1.0), Estimate(0.0, -0.2, 0.1))
    Estimate(value=0.5, low=0.0, high=1.2000000000000002)
    """
    pairs = zip(forth, back, strict=True)
    if scale is Scale.ABSOLUTE:
        return Estimate(*(a + b for a, b in pairs))
    return Estimate(*((1 + a) * (1 + b) - 1 for a, b in pairs))


def changed(costs: Costs, reference: str, scale: Scale = Scale.RELATIVE) -> list[str]:
    """The settings where the reference's shape costs, and more than the better find explains."""
    joint = {n: together(costs[n][reference], costs[reference][n], scale) for n in _others(costs, reference)}
    return [name for name, cost in joint.items() if costs[name][reference].low > 0 and cost.low > 0]


def verdict(costs: Costs, reference: str, vary: str, scale: Scale = Scale.RELATIVE) -> str:
    """One statement: whether the option changes the best shape, by how much and how sure that is."""
    others, holds = _others(costs, reference), changed(costs, reference, scale)
    outcome = (
        f"held for {len(holds)} of {len(others)} settings; in {', '.join(holds)}, {reference}'s shape costs"
        if holds
        else f"did NOT hold; in none of {len(others)} settings does {reference}'s shape cost"
    )
    most = max(holds or others, key=lambda name: np.nan_to_num(costs[name][reference].value, nan=-np.inf))
    forth, back = (_with_interval(cost, scale) for cost in (costs[most][reference], costs[reference][most]))
    typical = np.median([costs[name][reference].value for name in others])
    return (
        f"{vary} changes the best shape: {outcome} more than the intervals and a better find explain. Most of"
        f" all, {reference}'s shape costs {forth} in {most}, whose own costs {back} in {reference}; in the"
        f" median setting {reference}'s shape costs {_amount(typical, scale)}."
        f"{_doubtful(costs, reference, holds)}"
    )


def _doubtful(costs: Costs, reference: str, holds: Sequence[str]) -> str:
    names = [n for n in _others(costs, reference) if costs[n][reference].low > 0 and n not in holds]
    if not names:
        return ""
    return (
        f" It also costs in {', '.join(names)}, but the shape found there may be as much better in"
        f" {reference}: perhaps the better find and not another best shape."
    )


def _others(costs: Costs, reference: str) -> list[str]:
    return [name for name in costs if name != reference]


def _with_interval(cost: Estimate, scale: Scale) -> str:
    low, high = (scale.text(end, 1, "+").removesuffix("%") for end in (cost.low, cost.high))
    return f"{_amount(cost.value, scale)} [{low}, {high}]"


def _amount(cost: float, scale: Scale) -> str:
    return scale.text(cost, 1, "+").replace("%", " %")


def cost_text(cost: Estimate | None, scale: Scale) -> str:
    """In the scale's unit, with * where the interval does not hold zero."""
    if cost is None or math.isnan(cost.value):
        return NONE
    return scale.text(cost.value, 1, "+").removesuffix("%") + ("*" if cost.low > 0 or cost.high < 0 else "")
