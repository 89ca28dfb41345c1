"""What a schedule family is: a curve over the horizon, and what its parameters may be.

A schedule is base_lr · multiplier(x) at x = t/T for t = 0 … T-1. Every family's continuous curve lies in
[0, 1] and peaks at 1; its samples may peak slightly lower and are never renormalised.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from schedules import shapes
from schedules.interval import Interval
from schedules.warmup import WARMUPS

Params = Mapping[str, ArrayLike]
Schedule = Callable[[ArrayLike], Array]  # as optax has them, whose import takes as long as this project's

# What a family's fixed options may be: the names of a form, or the interval of a number.
OPTIONS: Mapping[str, tuple[str, ...] | Interval] = MappingProxyType(
    {
        "warmup_form": tuple(WARMUPS),
        "decay_form": tuple(shapes.DECAY_FORMS),
        "floor": Interval(0.0, 1.0),
    }
)


@dataclass(frozen=True)
class Family:
    """A schedule family; hashable, so usable as a static argument of a jitted function.

    It is a value: one that was pickled or copied is equal to the first, and what was compiled for that serves
    it. A curve of your own pickles where it has a name in a module.

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

    def __hash__(self) -> int:
        return hash((self.name, self.curve, frozenset(self.options.items())))

    def __reduce__(self) -> tuple:
        mappings = (dict(getattr(self, name)) for name in ("domain", "space", "options"))
        return type(self), (self.name, self.curve, *mappings)  # its views of them do not pickle

    def multipliers(self, params: Params, num_steps: int) -> Float[Array, "*groups steps"]:
        """The curve at x = t / num_steps for t = 0 … num_steps - 1.

        Jittable, mappable over `params` with `jax.vmap`, and differentiable in them.

        >>> from schedules import FAMILIES
        >>> FAMILIES["linear"].multipliers({"warmup": 0.5}, num_steps=4).tolist()
        [0.0, 0.5, 1.0, 0.5]

        Raises:
          ValueError: a parameter is unknown, missing, not a scalar or (where its value is concrete) outside
            its domain, or `num_steps` is below 1.
        """
        self.check(params)
        _check_num_steps(num_steps)
        return _sample_curve(self, num_steps, dict(params))

    def schedule(self, params: Params, base_lr: float, num_steps: int) -> Schedule:
        """An optax schedule, count → base_lr · curve(count / num_steps); it holds its end after the horizon.

        >>> from schedules import FAMILIES
        >>> schedule = FAMILIES["cosine"].schedule({"warmup": 0.0}, base_lr=0.3, num_steps=100)
        >>> [round(float(schedule(count)), 4) for count in (0, 50, 100)]
        [0.3, 0.15, 0.0]

        Raises:
          ValueError: as `multipliers` does, or `base_lr` is negative or not finite.
        """
        self.check(params)
        _check_num_steps(num_steps)
        if not isinstance(base_lr, jax.core.Tracer) and not 0 <= base_lr < math.inf:
            raise ValueError(f"{self.name}: base_lr must be in [0, inf), got {base_lr}")

        def learning_rate(count):
            # a float, since a horizon in tokens may be beyond the integers of 32 bits
            x = jnp.minimum(jnp.asarray(count, jnp.result_type(float)) / float(num_steps), 1)
            return base_lr * self.curve_at(x, params)

        return learning_rate

    def sample(self, key: PRNGKeyArray, count: int) -> dict[str, Float[Array, "count"]]:
        """`count` independent draws from the space, uniform, or log-uniform where it says so."""
        return self.from_unit(jax.random.uniform(key, (count, len(self.space))))

    def from_unit(self, points: Float[Array | np.ndarray, "count dims"]) -> dict[str, Float[Array, "count"]]:
        """Map points of the unit cube to parameters; the cube's axes are the space's parameters in order."""
        return {
            name: interval.from_unit(points[:, axis])
            for axis, (name, interval) in enumerate(self.space.items())
        }

    def with_options(self, **options: str | float) -> "Family":
        """The same family with other fixed choices.

        >>> from schedules import FAMILIES
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
        return replace(self, options={**self.options, **options})

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

    def curve_at(self, x: Float[Array, "*batch"], params: Params) -> Float[Array, "*batch"]:
        """The continuous curve at fractions x in [0, 1] of the horizon; `params` are not checked."""
        values = {name: jnp.asarray(value, x.dtype) for name, value in params.items()}
        curve = self.curve(x, **values, **self.options)
        # rounding may leave [0, 1] by an ulp; a clip would halve the gradients at its bounds
        return jnp.where(curve > 1, 1, jnp.where(curve < 0, 0, curve))

    def _described_domain(self) -> str:
        return ", ".join(f"{name} in {interval}" for name, interval in self.domain.items())


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample_curve(
    family: Family, num_steps: int, params: dict[str, ArrayLike]
) -> Float[Array, "*groups steps"]:
    x = jnp.arange(num_steps, dtype=float) / float(num_steps)
    return family.curve_at(x, params)


def _check_num_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
