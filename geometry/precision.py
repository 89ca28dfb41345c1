"""The precision geometry computes in: float32 for narrower floats, their own for wider ones."""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def widened(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in float32, or in its own dtype where that is wider.

    Raises TypeError for anything but real floats.
    """
    return x.astype(_widened(x.dtype))


def widened_zeros(x: Float[Array, "*shape"] | jax.ShapeDtypeStruct) -> Float[Array, "*shape"]:
    """Zeros like `widened(x)`, of which the shape and dtype are enough; sharded as `x` is."""
    return jnp.zeros_like(x, dtype=_widened(x.dtype))


def largest_magnitude(
    x: Float[Array, "*shape"], axis: int | tuple[int, ...] | None = None
) -> Float[Array, "*reduced"]:
    """max |x| along `axis`, 0 of nothing, and NaN where one is among them.

    XLA's own maximum drops NaNs on a CPU, in arrays of 4,096 numbers and more.
    """
    size = jnp.abs(x)
    peak = jnp.max(size, axis=axis, keepdims=True, initial=0)
    bounded = jnp.all(size <= peak, axis=axis, keepdims=True)
    return jnp.squeeze(jnp.where(bounded, peak, jnp.nan), axis)


def unit_peak(
    x: Float[Array, "*shape"], axis: int | tuple[int, ...] | None = None
) -> tuple[Float[Array, "*shape"], Float[Array, "*peaks"]]:
    """`x` over its largest magnitude along `axis`, and that magnitude; zeros stay zeros, and NaNs NaN.

    Squares of what is returned neither overflow nor all vanish, whatever the scale of `x`. Of NaNs, the
    magnitude may be anything.

    Raises TypeError for anything but real floats.
    """
    _check_real(x.dtype)
    peak = jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0)
    small = jnp.where(peak > 1, 0.125, 1).astype(x.dtype)  # compilers divide by 1 / peak, which may underflow
    return (small * x) / jnp.where(peak > 0, small * peak, 1), peak


def binary_unit(x: Float[Array, "*shape"]) -> Float[Array, ""]:
    """A power of two near max |x|, by which everything is divided exactly; small for zeros.

    Squares of x over it neither overflow nor all vanish, and the square of `x` may well do.
    """
    reach = int(0.8 * jnp.finfo(x.dtype).maxexp)  # the inverse of it is no subnormal number
    peak = jnp.max(jnp.abs(x), initial=0)
    exponent = jnp.where(peak > 0, jnp.frexp(peak)[1], -reach)
    return jnp.ldexp(jnp.ones_like(peak), jnp.clip(exponent, -reach, reach))


def full_product(a: Float[Array, "*batch i j"], b: Float[Array, "*batch j k"]) -> Float[Array, "*batch i k"]:
    """A B in full precision, where an accelerator's default would round float32 to bfloat16 or TF32."""
    return jnp.matmul(a, b, precision=Precision.HIGHEST)


def _widened(dtype: DTypeLike) -> jnp.dtype:
    _check_real(dtype)
    return jnp.promote_types(dtype, jnp.float32)


def _check_real(dtype: DTypeLike) -> None:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"x must have a real floating dtype, got {dtype}")
