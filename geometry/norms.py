"""Norms for steepest descent: each with its dual and the direction they define.

The steepest-descent direction under a norm is argmax{⟨g, d⟩ : ‖d‖ ≤ 1}; the value there is the dual norm
of g. So for every geometry ⟨g, direction(g)⟩ = dual(g) and norm(direction(g)) = 1, unless g is zero.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax.numpy as jnp
from jaxtyping import Array, Float

from geometry.decompositions import by_matrix
from geometry.partial import Partial
from geometry.polar_factor import leading_polar_factor, polar
from geometry.precision import largest_magnitude, unit_peak, widened


@dataclass(frozen=True)
class Geometry:
    """A norm, its dual, and the unit step that gains the most along a gradient; of zero, zero.

    EUCLIDEAN and SIGN take an array of any shape as one vector and return scalar norms. SPECTRAL and
    `ky_fan` take matrices in the last two axes and return a norm for each. Norms come in float32, or wider
    where the array is; directions keep the array's dtype.

    A geometry is a value: one that was pickled or copied is equal to the first. So compare by ==, not by
    identity; functions of your own pickle where they have a name in a module.
    """

    name: str
    norm: Callable[[Float[Array, "..."]], Float[Array, "..."]] = field(repr=False)
    dual: Callable[[Float[Array, "..."]], Float[Array, "..."]] = field(repr=False)
    direction: Callable[[Float[Array, "..."]], Float[Array, "..."]] = field(repr=False)


def ky_fan(rank: int) -> Geometry:
    """Descent by matrices of rank `rank` and spectral norm 1.

    The dual norm is Ky Fan's, the sum of the `rank` largest singular values; the norm is
    max(σ₁, Σσᵢ / rank); the direction is U_r V_rᵀ, the polar factor cut to the leading singular vectors.
    `ky_fan(1)` descends on the leading pair of singular vectors (the norm is the nuclear one), a full rank
    is SPECTRAL.

    Raises ValueError when `rank` is below 1.
    """
    if rank < 1:
        raise ValueError(f"rank must be at least 1, got {rank}")

    norm, dual, direction = (Partial(function, (rank,)) for function in (_ky_fan_norm, _ky_fan, _leading))
    return Geometry(f"ky_fan({rank})", norm, dual, direction)


def _ky_fan_norm(rank: int, x: Float[Array, "..."]) -> Float[Array, "..."]:
    s = _singular_values(x)
    return jnp.maximum(s[..., 0], jnp.sum(s, axis=-1) / rank)


def _ky_fan(rank: int, x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.sum(_singular_values(x)[..., :rank], axis=-1)


def _leading(rank: int, x: Float[Array, "..."]) -> Float[Array, "..."]:
    return leading_polar_factor(x, rank)


def _frobenius(x: Float[Array, "..."]) -> Float[Array, ""]:
    scaled, peak = unit_peak(widened(x))
    return jnp.squeeze(peak) * jnp.sqrt(jnp.sum(scaled**2))


def _unit_vector(x: Float[Array, "..."]) -> Float[Array, "..."]:
    scaled, _ = unit_peak(widened(x))
    norm = jnp.sqrt(jnp.sum(scaled**2))
    return (scaled / jnp.where(norm == 0, 1, norm)).astype(x.dtype)


def _singular_values(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return by_matrix(jnp.linalg.svdvals, widened(x))


def _largest_entry(x: Float[Array, "..."]) -> Float[Array, ""]:
    return largest_magnitude(widened(x))


def _sum_of_entries(x: Float[Array, "..."]) -> Float[Array, ""]:
    return jnp.sum(jnp.abs(widened(x)))


def _sign(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.sign(x)


def _spectral_norm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.sum(_singular_values(x)[..., :1], axis=-1)


def _nuclear_norm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.sum(_singular_values(x), axis=-1)


def _polar_factor(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return polar(x, "svd")


EUCLIDEAN = Geometry("euclidean", norm=_frobenius, dual=_frobenius, direction=_unit_vector)

SIGN = Geometry("sign", norm=_largest_entry, dual=_sum_of_entries, direction=_sign)
SPECTRAL = Geometry("spectral", norm=_spectral_norm, dual=_nuclear_norm, direction=_polar_factor)
