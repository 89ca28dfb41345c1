"""Decay curves over what remains of the decay, v = 1 - u in [0, 1]: 1 at its start, 0 at its end.

Written in v and not in u = 1 - v because the curves bend most near the end, where 1 - u loses all digits.
Source of the first five: Naganuma et al. (2026), arXiv:2603.10301.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array, Float

from schedules import warmup

Scalar = Float[Array, ""]


def power(v: Float[Array, "*batch"], exponent: Scalar | float) -> Array:
    """v^exponent, with 0^0 = 1 and a gradient of 0 instead of NaN or infinity at v = 0."""
    positive = v > jnp.finfo(v.dtype).tiny
    logarithm = jnp.log(jnp.where(positive, v, 1))
    return jnp.where(positive, jnp.exp(exponent * logarithm), jnp.where(exponent == 0, 1.0, 0.0))


def generalized_cosine(v: Float[Array, "*batch"], exponent: Scalar | float) -> Array:
    """[(1 + cos πu)/2]^p, where (1 + cos πu)/2 = sin²(πv/2)."""
    return power(jnp.sin(jnp.pi / 2 * v) ** 2, exponent)


def cosine(v: Float[Array, "*batch"], floor: Scalar | float) -> Array:
    """floor + (1 - floor)·(1 + cos πu)/2."""
    return floor + (1 - floor) * jnp.sin(jnp.pi / 2 * v) ** 2


def sqrt(v: Float[Array, "*batch"], a: Scalar) -> Array:
    """(1 - u²)^(a/2)."""
    return power(v * (2 - v), a / 2)


def rex(v: Float[Array, "*batch"], beta: Scalar) -> Array:
    """(1 - u) / (1 - (1-β)u); β = 1 is linear, β = 0 constant."""
    denominator = v + beta * (1 - v)
    defined = denominator > 0
    representable = jnp.finfo(v.dtype).tiny ** 0.5  # the gradient squares the denominator
    return jnp.where(defined, v / jnp.where(defined, jnp.maximum(denominator, representable), 1), 1)


def inverse_sqrt(v: Float[Array, "*batch"], timescale: Scalar) -> Array:
    """1 / sqrt(1 + u/c); c no smaller than the resolution of the dtype."""
    return 1 / jnp.sqrt(1 + (1 - v) / jnp.maximum(timescale, jnp.finfo(v.dtype).eps))


def exponential(v: Float[Array, "*batch"], rate: Scalar) -> Array:
    """e^(-ku)."""
    return jnp.exp(-rate * (1 - v))


def wsd(v: Float[Array, "*batch"], decay: Scalar, floor: Scalar, decay_form: str) -> Array:
    """1 until u = 1 - decay, then `decay_form` from 1 to `floor`: warm-up, stable, decay."""
    return 1 - (1 - floor) * DECAY_FORMS[decay_form](decay_done(v, decay))


def hold_power(v: Float[Array, "*batch"], hold: Scalar, exponent: Scalar, floor: Scalar) -> Array:
    """1 until u = hold, then floor + (1 - floor)·(1 - q^p) once a fraction q of the decay is done.

    For p < 1 it is steepest where the decay begins; the gradient there is that of the hold. Source: winners
    of the public optimizer race of a 124M-parameter GPT, such as 1 - √u and 1 - u^0.4.
    """
    done = decay_done(v, 1 - hold)
    # 0^p is 0 also for the exponents that are flushed to 0
    return 1 - (1 - floor) * jnp.where(done > 0, power(done, exponent), 0)


def decay_done(v: Float[Array, "*batch"], decay: Scalar | float) -> Array:
    """The fraction done of a decay over the last `decay` of u; exactly 0 where it begins."""
    eps = jnp.finfo(v.dtype).eps
    done = 1 - jnp.clip(v / jnp.maximum(decay, eps), 0, 1)
    # roots and steep falls multiply the rounding errors in v with which the decay begins
    return jnp.where((v > 0) & (decay - v <= 4 * eps), 0, done)


def _sqrt_fall(q: Float[Array, "*batch"]) -> Array:
    return power(q, 0.5)


def _mirrored_cosine(q: Float[Array, "*batch"]) -> Array:
    """The cosine reflected in the straight line: steep at both ends, flat in the middle."""
    return 2 * q - warmup.cosine(q)


DECAY_FORMS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    # what is lost of the multiplier once a fraction q of the decay is done: warm-ups, mirrored
    {
        "linear": warmup.linear,
        "1-sqrt": _sqrt_fall,
        "cosine": warmup.cosine,
        "mirrored_cosine": _mirrored_cosine,
        "square": warmup.polynomial,
        "exponential": warmup.exponential,
    }
)
