"""Intervals: where a shape parameter is meaningful, and where a search looks for it."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

LARGEST_EXPONENT = 80.0  # e^80 is well within a float32


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`, searched uniformly, or log-uniformly where `log`.

    An end is excluded where it is marked open; an infinite end is always excluded.

    >>> Interval(0.0, 1.0, open_high=True)
    Interval [0, 1)
    >>> 1.0 in Interval(0.0, 1.0, open_high=True)
    False

    Raises ValueError when `low` is not below `high`, or when `log` and `low` is not positive.
    """

    low: float
    high: float
    log: bool = False
    open_low: bool = False
    open_high: bool = False

    def __post_init__(self):
        for end in ("low", "high"):
            if math.isinf(getattr(self, end)):
                object.__setattr__(self, f"open_{end}", True)
        if not self.low < self.high:
            raise ValueError(f"Interval: low must be below high, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"Interval: low must be positive where log=True, got low={self.low}")

    def __contains__(self, value: float) -> bool:
        reaches_low = value > self.low or (value == self.low and not self.open_low)
        reaches_high = value < self.high or (value == self.high and not self.open_high)
        return reaches_low and reaches_high

    def __str__(self) -> str:
        left = "(" if self.open_low else "["
        right = ")" if self.open_high else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"

    def __repr__(self) -> str:
        return f"Interval {self}" + (" (log)" if self.log else "")

    def within(self, other: "Interval") -> bool:
        """Whether every number of this interval lies in `other`."""
        low = self.low > other.low or (self.low == other.low and (self.open_low or not other.open_low))
        high = self.high < other.high or (self.high == other.high and (self.open_high or not other.open_high))
        return low and high

    @property
    def log_ratio(self) -> float:
        """log(high / low), also where the ratio is beyond a number's range."""
        return math.log(self.high) - math.log(self.low)

    def from_unit(self, fraction: Float[Array | np.ndarray, "*batch"]) -> Float[Array, "*batch"]:
        """Map a fraction in [0, 1] onto the interval: low + f·(high - low), or low·(high/low)^f where `log`.

        >>> Interval(0.01, 1.0, log=True).from_unit(jnp.asarray([0.0, 1.0])).tolist()
        [0.009999999776482582, 1.0]
        """
        if self.log:
            # from the other end where the factor from the low one might be beyond a float32
            from_high = fraction * self.log_ratio > max(LARGEST_EXPONENT, self.log_ratio / 2)
            exponent = jnp.where(from_high, fraction - 1, fraction) * self.log_ratio
            value = jnp.where(from_high, self.high, self.low) * jnp.exp(exponent)
        else:
            value = self.low + fraction * (self.high - self.low)
        return jnp.clip(value, self.low, self.high)  # rounding may step over an end

    def to_unit(self, value: float) -> float:
        """The fraction in [0, 1] that `from_unit` maps onto the value; values outside are taken to the ends.

        >>> Interval(0.01, 1.0, log=True).to_unit(0.1)
        0.5
        """
        value = min(max(value, self.low), self.high)
        if self.log:
            return (math.log(value) - math.log(self.low)) / self.log_ratio
        return (value - self.low) / (self.high - self.low)
