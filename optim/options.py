"""Options are checked when an optimizer is built, with errors that name the option and what is allowed."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike


def check_number(
    name: str, value: optax.ScalarOrSchedule | ArrayLike, low: ArrayLike, high: ArrayLike = math.inf
) -> None:
    """Raise ValueError unless `value` is in [low, high); a traced value or a schedule is not looked at."""
    if callable(value) or isinstance(value, jax.core.Tracer):
        return
    low, high = np.asarray(low), np.asarray(high)  # in NumPy: under a trace, JAX would trace the comparison
    if not (is_real(value) and np.all((low <= np.asarray(value)) & (np.asarray(value) < high))):
        raise ValueError(f"{name} must be in [{low:g}, {high:g}), got {value}")


def check_positive(name: str, value: ArrayLike) -> None:
    """Raise ValueError unless `value` is above 0 and finite; a traced value is not looked at."""
    if not isinstance(value, jax.core.Tracer) and not 0 < np.asarray(value) < math.inf:
        raise ValueError(f"{name} must be positive, got {value}")


def check_fraction(name: str, value: ArrayLike) -> None:
    """Raise ValueError unless `value` is between 0 and 1 and neither; a traced value is not looked at."""
    if not isinstance(value, jax.core.Tracer) and not 0 < np.asarray(value) < 1:
        raise ValueError(f"{name} must be between 0 and 1, got {value}")


def is_real(value: object) -> bool:
    """Whether `value` is a real number, or an array of them."""
    dtype = np.asarray(value).dtype
    return any(jnp.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_))


def check_choice(name: str, value: str | None, allowed: tuple[str | None, ...]) -> None:
    """Raise ValueError unless `value` is one of the allowed names."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}")


def could_be_zero(value: optax.ScalarOrSchedule | ArrayLike) -> bool:
    """Whether a number is 0, or traced; a schedule is not looked at."""
    return isinstance(value, jax.core.Tracer) or not (callable(value) or np.any(np.asarray(value)))


def is_zero(value: optax.ScalarOrSchedule | ArrayLike) -> bool:
    """Whether a number is 0 for good: an array of JAX's may be a hyperparameter, and another one later."""
    return could_be_zero(value) and not isinstance(value, jax.Array)


def at_step(value: optax.ScalarOrSchedule | ArrayLike, count: jax.Array) -> ArrayLike:
    """A number, or what a schedule says at step `count`."""
    return value(count) if callable(value) else value
