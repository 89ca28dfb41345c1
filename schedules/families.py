"""The eighteen schedule families, by name.

The warm-up is a real-valued fraction of the horizon. The first ten families are those of Naganuma et al.
(2026), arXiv:2603.10301, their search ranges for two_point_spline included; all other ranges are this
project's. `hold_power` and `knots` are made to hold the winners of the public optimizer race of a
124M-parameter GPT: 1 - √u, a hold and 1 - u^0.4, and a fall in u^0.6 with a straight end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array

from schedules import shapes
from schedules.family import Family
from schedules.interpolation import pchip, piecewise_linear
from schedules.interval import Interval
from schedules.warmup import WARMUPS

FREE_LEVELS = 8
KNOTS = (0.0, 0.026, 0.04, 0.051, 0.065, 0.077, 0.21, 0.53, 0.82, 0.95, 1.0)  # fractions u after the warm-up


def _rise(x: Array, peak_at: Array, form: str) -> Array:
    """The warm-up that reaches 1 at `peak_at`; a positive one no shorter than the resolution of the dtype."""
    return WARMUPS[form](jnp.clip(x / jnp.maximum(peak_at, jnp.finfo(x.dtype).eps), 0, 1))


@dataclass(frozen=True)
class _WarmedUp:
    """The curve of a family that rises until x = warmup and then follows `decay(v, **params)`."""

    decay: Callable[..., Array]

    def __call__(self, x, *, warmup, warmup_form, **params):
        horizon = 1 - jnp.minimum(warmup, 1 - jnp.finfo(x.dtype).eps)
        remaining = jnp.clip((1 - x) / horizon, 0, 1)
        return jnp.where(x < warmup, _rise(x, warmup, warmup_form), self.decay(remaining, **params))


def _constant(v: Array) -> Array:
    return jnp.ones_like(v)


def _linear(v: Array) -> Array:
    return v


def _knots(v: Array, **levels: Array) -> Array:
    """PCHIP through 1 at u = 0 and level_k at u = KNOTS[k], dense where holds end and where falls are steep.

    The 1 is fixed, since the base learning rate is the scale already.
    """
    heights = [jnp.ones_like(levels["level_1"]), *(levels[f"level_{k}"] for k in range(1, len(KNOTS)))]
    return pchip(shapes.decay_done(v, 1.0), [jnp.asarray(knot, v.dtype) for knot in KNOTS], heights)


@dataclass(frozen=True)
class _TwoPoint:
    """A straight warm-up to (x0, 1), then through (x0, 1), (x1, y1), (x2, y2) and (1, y_end·y2)."""

    interpolate: Callable[..., Array]

    def __call__(self, x, *, x0, y1, dx1, dx2, dy2, y_end=0.0):
        x1 = x0 + dx1 * (1 - x0)
        x2 = x1 + dx2 * (1 - x1)
        y2 = dy2 * y1
        unit = jnp.ones_like(x0)
        decay = self.interpolate(x, (x0, x1, x2, unit), (unit, y1, y2, y_end * y2))
        return jnp.where(x < x0, _rise(x, x0, "linear"), decay)


def _smooth_nonmonotonic(x, *, y_start, y_end, x_peak, y1, dx1, y2, dx2):
    """PCHIP through (0, y_start), (x1, y1), (x2, y2), (x_peak, 1), (1, y_end) in the order of x."""
    x1 = dx1
    x2 = x1 + (1 - x1) * dx2
    unit = jnp.ones_like(x_peak)
    # where the peak shares its x with another knot it comes first, so that the curve has the value 1 there
    resolution = 2 * jnp.finfo(x.dtype).eps
    first, second = x_peak <= x1 + resolution, x_peak <= x2 + resolution
    knots = jnp.minimum(x_peak, x1), jnp.clip(x_peak, x1, x2), jnp.maximum(x_peak, x2)
    values = (
        jnp.where(first, unit, y1),
        jnp.where(first, y1, jnp.where(second, unit, y2)),
        jnp.where(second, y2, unit),
    )
    return pchip(x, (jnp.zeros_like(unit), *knots, unit), (y_start, *values, y_end))


def _free(x, **levels):
    """PCHIP through equally spaced levels over the largest of them; all zero means constant, their limit."""
    heights = jnp.stack([levels[f"level_{k}"] for k in range(FREE_LEVELS)])
    largest = jnp.max(heights)
    vanishing = largest < jnp.finfo(x.dtype).eps ** 2
    heights = jnp.where(vanishing, 1, heights / jnp.where(vanishing, 1, largest))
    return pchip(x, list(jnp.linspace(0, 1, FREE_LEVELS, dtype=x.dtype)), list(heights))


UNIT = Interval(0.0, 1.0)
OPEN_UNIT = Interval(0.0, 1.0, open_low=True, open_high=True)
FRACTION_BELOW_1 = Interval(0.0, 1.0, open_high=True)
NON_NEGATIVE = Interval(0.0, float("inf"))
POSITIVE = Interval(0.0, float("inf"), open_low=True)
INNER = Interval(0.01, 0.99)  # of an open unit interval


def _warmed_up_family(
    name: str, decay: Callable[..., Array], parameters: Mapping[str, tuple[Interval, Interval]], **options
) -> Family:
    parameters = {"warmup": (FRACTION_BELOW_1, Interval(0.0, 0.3)), **parameters}
    return _family(name, _WarmedUp(decay), parameters, warmup_form="linear", **options)


def _family(name: str, curve, parameters: Mapping[str, tuple[Interval, Interval]], **options) -> Family:
    domain = {parameter: intervals[0] for parameter, intervals in parameters.items()}
    space = {parameter: intervals[1] for parameter, intervals in parameters.items()}
    return Family(name, curve, domain, space, options)


_TWO_POINT = {
    "x0": (UNIT, Interval(0.01, 0.25)),
    "y1": (UNIT, Interval(0.1, 1.0)),
    "dx1": (UNIT, UNIT),
    "dx2": (UNIT, UNIT),
    "dy2": (UNIT, UNIT),
}

_ALL = (
    _warmed_up_family("constant", _constant, {}),
    _warmed_up_family("cosine", shapes.cosine, {}, floor=0.0),
    _warmed_up_family(
        "generalized_cosine",
        shapes.generalized_cosine,
        {"exponent": (NON_NEGATIVE, Interval(0.05, 5.0, log=True))},
    ),
    _warmed_up_family("cosine_floor", shapes.cosine, {"floor": (UNIT, UNIT)}),
    _warmed_up_family("sqrt", shapes.sqrt, {"a": (UNIT, UNIT)}),
    _warmed_up_family("rex", shapes.rex, {"beta": (NON_NEGATIVE, Interval(0.01, 10.0, log=True))}),
    _family("two_point_linear", _TwoPoint(piecewise_linear), _TWO_POINT),
    _family("two_point_spline", _TwoPoint(pchip), _TWO_POINT),
    _family("two_point_spline_floor", _TwoPoint(pchip), {**_TWO_POINT, "y_end": (UNIT, UNIT)}),
    _family(
        "smooth_nonmonotonic",
        _smooth_nonmonotonic,
        {
            "y_start": (UNIT, UNIT),
            "y_end": (UNIT, UNIT),
            "x_peak": (OPEN_UNIT, INNER),
            "y1": (UNIT, UNIT),
            "dx1": (OPEN_UNIT, INNER),
            "y2": (UNIT, UNIT),
            "dx2": (OPEN_UNIT, INNER),
        },
    ),
    _warmed_up_family("linear", _linear, {}),
    _warmed_up_family("power", shapes.power, {"exponent": (NON_NEGATIVE, Interval(0.1, 5.0, log=True))}),
    _warmed_up_family(
        "inverse_sqrt", shapes.inverse_sqrt, {"timescale": (POSITIVE, Interval(0.01, 1.0, log=True))}
    ),
    _warmed_up_family(
        "exponential", shapes.exponential, {"rate": (NON_NEGATIVE, Interval(0.1, 10.0, log=True))}
    ),
    _warmed_up_family(
        "wsd",
        shapes.wsd,
        {"decay": (UNIT, Interval(0.05, 1.0)), "floor": (UNIT, Interval(0.0, 0.2))},
        decay_form="linear",
    ),
    _warmed_up_family(
        "hold_power",
        shapes.hold_power,
        {
            "hold": (UNIT, Interval(0.0, 0.95)),
            "exponent": (POSITIVE, Interval(0.2, 3.0, log=True)),
            "floor": (UNIT, Interval(0.0, 0.2)),
        },
    ),
    _warmed_up_family("knots", _knots, {f"level_{k}": (UNIT, UNIT) for k in range(1, len(KNOTS))}),
    _family("free", _free, {f"level_{k}": (UNIT, UNIT) for k in range(FREE_LEVELS)}),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _ALL})
