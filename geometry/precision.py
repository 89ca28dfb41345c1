"""The precision geometry computes in: float32 for narrower floats, their own for wider ones."""

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float


def widened(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in float32, or in its own dtype where that is wider.

    Raises TypeError for anything but real floats.
    """
    return x.astype(_widened(x.dtype))


def widened_zeros(x: Float[Array, "*shape"] | jax.ShapeDtypeStruct) -> Float[Array, "*shape"]:
    """Zeros like `widened(x)`, of which the shape and dtype are enough; sharded as `x` is."""
    return jnp.zeros_like(x, dtype=_widened(x.dtype))


def unit_peak(
    x: Float[Array, "*shape"], axis: int | tuple[int, ...] | None = None
) -> tuple[Float[Array, "*shape"], Float[Array, "*peaks"]]:
    """`x` over its largest magnitude along `axis`, and that magnitude; zeros stay zeros.

    Squares of what is returned neither overflow nor all vanish, whatever the scale of `x`.
    """
    peak = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    small = jnp.where(peak > 1, 0.125, 1).astype(x.dtype)  # compilers divide by 1 / peak, which may underflow
    return (small * x) / jnp.where(peak > 0, small * peak, 1), peak


def full_product(a: Float[Array, "*batch i j"], b: Float[Array, "*batch j k"]) -> Float[Array, "*batch i k"]:
    """A B in full precision, where an accelerator's default would round float32 to bfloat16 or TF32."""
    return jnp.matmul(a, b, precision=Precision.HIGHEST)


def _widened(dtype: jnp.dtype) -> jnp.dtype:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"x must have a real floating dtype, got {dtype}")
    return jnp.promote_types(dtype, jnp.float32)
