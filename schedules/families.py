"""The schedule families: pure functions from a few shape parameters to a curve over the horizon.

A schedule is base_lr · multiplier(x) at x = t/T for t = 0 … T-1. Every family's continuous curve lies in
[0, 1] and peaks at 1; its samples may peak slightly lower and are never renormalised. The warm-up is a
real-valued fraction of the horizon. The first ten families are those of Naganuma et al. (2026),
arXiv:2603.10301, their search ranges for two_point_spline included; all other ranges are this project's.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from schedules import shapes
from schedules.interpolation import pchip, piecewise_linear
from schedules.interval import Interval
from schedules.warmup import WARMUPS

Params = Mapping[str, ArrayLike]

FREE_LEVELS = 8

# What a family's fixed options may be: the names of a form, or the interval of a number.
OPTIONS: Mapping[str, tuple[str, ...] | Interval] = MappingProxyType(
    {
        "warmup_form": tuple(WARMUPS),
        "decay_form": tuple(shapes.DECAY_FORMS),
        "floor": Interval(0.0, 1.0),
    }
)


@dataclass(frozen=True, eq=False)
class Family:
    """A schedule family; hashable by identity, so usable as a static argument of a jitted function.

    Attributes:
      name: its key in `FAMILIES`.
      curve: (x, **params, **options) → multiplier, for x in [0, 1] of any shape.
      domain: the interval of each parameter outside which it means nothing.
      space: the interval of each parameter that a search draws from, inside the domain.
      options: choices that are fixed and not searched; change them with `with_options`.
    """

    name: str
    curve: Callable[..., Array]
    domain: Mapping[str, Interval]
    space: Mapping[str, Interval]
    options: Mapping[str, str | float] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("domain", "space", "options"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        if set(self.space) != set(self.domain):
            raise ValueError(f"{self.name}: space and domain must name the same parameters")
        for name, interval in self.space.items():
            if not interval.within(self.domain[name]):
                raise ValueError(
                    f"{self.name}: the space {interval} of {name!r} leaves its domain {self.domain[name]}"
                )

    def multipliers(self, params: Params, num_steps: int) -> Float[Array, "steps"]:
        """The curve at x = t / num_steps for t = 0 … num_steps - 1.

        Jittable, mappable over `params` with `jax.vmap`, and differentiable in them.

        >>> FAMILIES["linear"].multipliers({"warmup": 0.5}, num_steps=4).tolist()
        [0.0, 0.5, 1.0, 0.5]

        Raises:
          ValueError: a parameter is unknown, missing, not a scalar or (where its value is concrete) outside
            its domain, or `num_steps` is below 1.
        """
        self.check(params)
        _check_num_steps(num_steps)
        return _sample_curve(self, num_steps, dict(params))

    def schedule(self, params: Params, base_lr: float, num_steps: int) -> optax.Schedule:
        """An optax schedule, count → base_lr · curve(count / num_steps); it holds its end after the horizon.

        >>> schedule = FAMILIES["cosine"].schedule({"warmup": 0.0}, base_lr=0.3, num_steps=100)
        >>> [round(float(schedule(count)), 4) for count in (0, 50, 100)]
        [0.3, 0.15, 0.0]

        Raises:
          ValueError: as `multipliers` does.
        """
        self.check(params)
        _check_num_steps(num_steps)

        def learning_rate(count):
            x = jnp.minimum(jnp.asarray(count, jnp.result_type(float)) / num_steps, 1)
            return base_lr * self._curve_at(x, params)

        return learning_rate

    def sample(self, key: PRNGKeyArray, count: int) -> dict[str, Float[Array, "count"]]:
        """`count` independent draws from the space, uniform, or log-uniform where it says so."""
        return self.from_unit(jax.random.uniform(key, (count, len(self.space))))

    def from_unit(self, points: Float[Array, "count dims"]) -> dict[str, Float[Array, "count"]]:
        """Map points of the unit cube to parameters; the cube's axes are the space's parameters in order."""
        return {
            name: interval.from_unit(points[:, axis])
            for axis, (name, interval) in enumerate(self.space.items())
        }

    def with_options(self, **options: str | float) -> "Family":
        """The same family with other fixed choices.

        >>> FAMILIES["wsd"].with_options(decay_form="1-sqrt").options["decay_form"]
        '1-sqrt'

        Raises:
          ValueError: the family has no such option, or the option no such value.
        """
        for name, value in options.items():
            if name not in self.options:
                raise ValueError(f"{self.name}: no option {name!r}; it has {sorted(self.options) or 'none'}")
            allowed = OPTIONS[name]
            if value not in allowed:
                raise ValueError(f"{self.name}: {name} must be in {allowed}, got {value!r}")
        changed = {**self.options, **options}
        # the same family for the same options: whatever was compiled for it serves again
        return self if changed == dict(self.options) else replace(self, options=changed)

    def check(self, params: Params) -> None:
        """Raise ValueError unless `params` has exactly the family's names and, where concrete, values inside
        the domain."""
        for name in params:
            if name not in self.domain:
                raise ValueError(
                    f"{self.name}: unknown parameter {name!r}; it has {self._described_domain()}"
                )
        for name, interval in self.domain.items():
            if name not in params:
                raise ValueError(f"{self.name}: missing parameter {name!r} in {interval}")
            if jnp.ndim(params[name]) != 0:
                raise ValueError(
                    f"{self.name}: {name} must be a scalar in {interval} (map over many with jax.vmap),"
                    f" got shape {jnp.shape(params[name])}"
                )
            traced = isinstance(params[name], jax.core.Tracer)
            if not traced and float(params[name]) not in interval:
                raise ValueError(f"{self.name}: {name} must be in {interval}, got {float(params[name]):g}")

    def _curve_at(self, x: Float[Array, "*batch"], params: Params) -> Float[Array, "*batch"]:
        values = {name: jnp.asarray(value, x.dtype) for name, value in params.items()}
        curve = self.curve(x, **values, **self.options)
        # rounding may leave [0, 1] by an ulp; a clip would halve the gradients at its bounds
        return jnp.where(curve > 1, 1, jnp.where(curve < 0, 0, curve))

    def _described_domain(self) -> str:
        return ", ".join(f"{name} in {interval}" for name, interval in self.domain.items())


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample_curve(family: Family, num_steps: int, params: dict[str, ArrayLike]) -> Float[Array, "steps"]:
    x = jnp.arange(num_steps) / num_steps
    return family._curve_at(x, params)


def _check_num_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")


def _rise(x: Array, peak_at: Array, form: str) -> Array:
    """The warm-up that reaches 1 at `peak_at`; a positive one no shorter than the resolution of the dtype."""
    return WARMUPS[form](jnp.clip(x / jnp.maximum(peak_at, jnp.finfo(x.dtype).eps), 0, 1))


def _warmed_up(decay: Callable[..., Array]) -> Callable[..., Array]:
    """The curve of a family that rises until x = warmup and then follows `decay(v, **params)`."""

    def curve(x, *, warmup, warmup_form, **params):
        horizon = 1 - jnp.minimum(warmup, 1 - jnp.finfo(x.dtype).eps)
        remaining = jnp.clip((1 - x) / horizon, 0, 1)
        return jnp.where(x < warmup, _rise(x, warmup, warmup_form), decay(remaining, **params))

    return curve


def _constant(v: Array) -> Array:
    return jnp.ones_like(v)


def _linear(v: Array) -> Array:
    return v


def _two_point(interpolate: Callable[..., Array]) -> Callable[..., Array]:
    """A straight warm-up to (x0, 1), then through (x0, 1), (x1, y1), (x2, y2) and (1, y_end·y2)."""

    def curve(x, *, x0, y1, dx1, dx2, dy2, y_end=0.0):
        x1 = x0 + dx1 * (1 - x0)
        x2 = x1 + dx2 * (1 - x1)
        y2 = dy2 * y1
        one = jnp.ones_like(x0)
        decay = interpolate(x, (x0, x1, x2, one), (one, y1, y2, y_end * y2))
        return jnp.where(x < x0, _rise(x, x0, "linear"), decay)

    return curve


def _smooth_nonmonotonic(x, *, y_start, y_end, x_peak, y1, dx1, y2, dx2):
    """PCHIP through (0, y_start), (x1, y1), (x2, y2), (x_peak, 1), (1, y_end) in the order of x."""
    x1 = dx1
    x2 = x1 + (1 - x1) * dx2
    one = jnp.ones_like(x_peak)
    # where the peak shares its x with another knot it comes first, so that the curve has the value 1 there
    resolution = 2 * jnp.finfo(x.dtype).eps
    first, second = x_peak <= x1 + resolution, x_peak <= x2 + resolution
    knots = jnp.minimum(x_peak, x1), jnp.clip(x_peak, x1, x2), jnp.maximum(x_peak, x2)
    values = (
        jnp.where(first, one, y1),
        jnp.where(first, y1, jnp.where(second, one, y2)),
        jnp.where(second, y2, one),
    )
    return pchip(x, (jnp.zeros_like(one), *knots, one), (y_start, *values, y_end))


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
    return _family(name, _warmed_up(decay), parameters, warmup_form="linear", **options)


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
    _family("two_point_linear", _two_point(piecewise_linear), _TWO_POINT),
    _family("two_point_spline", _two_point(pchip), _TWO_POINT),
    _family("two_point_spline_floor", _two_point(pchip), {**_TWO_POINT, "y_end": (UNIT, UNIT)}),
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
        {"decay": (UNIT, Interval(0.05, 0.9)), "floor": (UNIT, Interval(0.0, 0.2))},
        decay_form="linear",
    ),
    _family("free", _free, {f"level_{k}": (UNIT, UNIT) for k in range(FREE_LEVELS)}),
)

FAMILIES: Mapping[str, Family] = MappingProxyType({family.name: family for family in _ALL})
