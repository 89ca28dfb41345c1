"""Max-pooling that is fast to differentiate on a CPU, where `reduce_window` is not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def max_pool_2x2(
    inputs: Float[Array, "batch height width channels"],
) -> Float[Array, "batch half_height half_width channels"]:
    """The largest of each 2×2 block, with the gradient of Flax's `nn.max_pool`.

    Of equal pixels the first, row after row, gets the gradient. Raises ValueError for odd sizes.

    >>> flat = jnp.zeros((1, 2, 2, 1))
    >>> jax.grad(lambda x: jnp.sum(max_pool_2x2(x)))(flat).ravel()
    Array([1., 0., 0., 0.], dtype=float32)
    """
    batch, height, width, channels = inputs.shape
    if height % 2 or width % 2:
        raise ValueError(f"max_pool_2x2: height and width must be even, got {height}×{width}")
    blocks = inputs.reshape(batch * height // 2, 2, width // 2, 2, channels)
    return largest(blocks, (1, 3)).reshape(batch, height // 2, width // 2, channels)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def largest(values: Float[Array, "..."], axes: tuple[int, ...]) -> Float[Array, "..."]:
    """The maximum over `axes`; of equal values the first, in the order of the axes, gets the gradient.

    NaN where one is among them, which XLA's own reduction would drop on a CPU; and faster than it there.
    """
    for axis in axes:
        one_by_one = (jax.lax.slice_in_dim(values, n, n + 1, axis=axis) for n in range(values.shape[axis]))
        values = functools.reduce(jnp.maximum, one_by_one)
    return jnp.squeeze(values, axes)


@largest.defjvp
def _largest_jvp(axes: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]):
    (values,), (tangent,) = primals, tangents
    maximum = largest(values, axes)
    peaks = jnp.expand_dims(maximum, axes)
    sizes = [size if axis in axes else 1 for axis, size in enumerate(values.shape)]
    places = np.arange(np.prod(sizes)).reshape(sizes)
    # a reduction, so that XLA computes the place of the maximum once, not again for every value of the block
    first = jnp.min(jnp.where(values == peaks, places, places.size), axes, keepdims=True)
    chosen = jnp.sum(jnp.where(first == places, tangent, 0), axes)
    return maximum, chosen
