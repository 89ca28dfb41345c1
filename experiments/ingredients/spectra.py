"""What may stand in the polar factor's place: U f(Σ) Vᵀ, random factors and signs, of a polar factor's norm.

Each is a `geometry.PolarMethod`, so that it serves wherever the polar factor does: zero for zero, invariant
to the matrix's scale (what is random in its distribution), and of the Frobenius norm of U Vᵀ, √rank.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from geometry import PolarExpress, PolarMethod
from geometry.decompositions import thin_svd
from geometry.precision import unit_peak, widened

_POLAR = PolarExpress(steps=10)

Matrices = Float[Array, "*batch rows columns"]
Spectrum = Float[Array, "*batch rank"]


@dataclass(frozen=True)
class SpectralPower:
    """U Σ^p Vᵀ: the polar factor at p = 0, the matrix itself at 1, its inverted spectrum at -1.

    Attributes:
      power: p.
    """

    power: float

    def factor(self, x: Matrices) -> Matrices:
        return _with_spectrum(x, lambda values: values**self.power)


@dataclass(frozen=True)
class RandomSpectrum:
    """U |N| Vᵀ, N of fresh normal numbers for every matrix."""

    def factor(self, x: Matrices) -> Matrices:
        return _with_spectrum(x, lambda values: jnp.abs(jax.random.normal(_key_of(x), values.shape)))


@dataclass(frozen=True)
class RandomFactor:
    """± the polar factor of fresh normal numbers, so that it descends: of the gradient it tells no more."""

    def factor(self, x: Matrices) -> Matrices:
        drawn = _POLAR.factor(jax.random.normal(_key_of(x), x.shape))
        slope = jnp.sum(drawn * x, axis=(-2, -1), keepdims=True)
        return (jnp.sign(slope) * drawn).astype(x.dtype)


@dataclass(frozen=True)
class SignFactor:
    """sign(X) / √max(rows, columns), whose norm is √rank where the rank is full and no entry zero."""

    def factor(self, x: Matrices) -> Matrices:
        return jnp.sign(x) / max(x.shape[-2:]) ** 0.5


@dataclass(frozen=True)
class Chosen:
    """One of several methods, by a number that may be traced: one program serves them all.

    Attributes:
      methods: to choose among.
      place: which one.
    """

    methods: tuple[PolarMethod, ...]
    place: ArrayLike

    def factor(self, x: Matrices) -> Matrices:
        return jax.lax.switch(jnp.int32(self.place), [method.factor for method in self.methods], x)


def _with_spectrum(x: Matrices, function: Callable[[Spectrum], Spectrum]) -> Matrices:
    """U f(Σ) Vᵀ, scaled to the norm √rank; singular values below rounding error are zero, and stay so."""
    scaled, _ = unit_peak(widened(x), axis=(-2, -1))
    u, values, vt = thin_svd(scaled)
    kept = values > max(x.shape[-2:]) * jnp.finfo(values.dtype).eps * values[..., :1]
    changed = jnp.where(kept, function(jnp.where(kept, values, 1)), 0)
    squares = jnp.sum(changed**2, axis=-1, keepdims=True)
    rank = jnp.sum(kept, axis=-1, keepdims=True)
    changed *= jnp.sqrt(rank / jnp.where(squares > 0, squares, 1))
    return ((u * changed[..., None, :]) @ vt).astype(x.dtype)


def _key_of(x: Matrices) -> PRNGKeyArray:
    """From the bits of the matrices, so that every step draws afresh without a state; their sum is exact."""
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    return jax.random.key(jnp.sum(bits, dtype=jnp.uint32))
