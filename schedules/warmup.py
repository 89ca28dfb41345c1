"""Warm-up forms: monotone rises from 0 to 1 over the fraction of the warm-up done, r in [0, 1]."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp
from jaxtyping import Array, Float

EXPONENTIAL_RATE = 5.0
POLYNOMIAL_POWER = 2.0


def linear(r: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """r."""
    return r


def cosine(r: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """(1 - cos πr) / 2."""
    return (1 - jnp.cos(jnp.pi * r)) / 2


def exponential(r: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """(1 - e^{-gr}) / (1 - e^{-g}) with rate g = 5: it reaches 1, which 1 - e^{-gr} does not."""
    return jnp.expm1(-EXPONENTIAL_RATE * r) / jnp.expm1(-EXPONENTIAL_RATE)


def polynomial(r: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """r^k with power k = 2."""
    return r**POLYNOMIAL_POWER


WARMUPS: Mapping[str, Callable[[Array], Array]] = MappingProxyType(
    {"linear": linear, "cosine": cosine, "exponential": exponential, "polynomial": polynomial}
)
