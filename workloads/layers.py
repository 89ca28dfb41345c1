"""Layers written so that they are fast where the usual form is not."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def patches_convolution(
    inputs: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    window_strides,
    padding,
    **unsupported,
) -> Float[Array, "batch out_height out_width features"]:
    """A stride-1 convolution as one matrix product over image patches (im2col).

    For Flax's hook, `nn.Conv(conv_general_dilated=patches_convolution)`. On a CPU the gradient of XLA's own
    convolution is some 40 times slower inside `lax.scan`.

    Raises ValueError for strides, dilations or groups.
    """
    for name, value in {"window_strides": window_strides, **unsupported}.items():
        plain = value is None or name in ("dimension_numbers", "precision", "preferred_element_type")
        if not plain and np.any(np.asarray(value) != 1):
            raise ValueError(f"patches_convolution: {name} must be 1 in every direction, got {value}")
    rows, columns, channels, features = kernel.shape
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(inputs.shape[1:3], (rows, columns), (1, 1), padding)
    padded = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
    height, width = padded.shape[1] - rows + 1, padded.shape[2] - columns + 1
    shifted = [
        padded[:, row : row + height, column : column + width]
        for row in range(rows)
        for column in range(columns)
    ]
    patches = jnp.concatenate(shifted, axis=-1)
    return patches @ kernel.reshape(rows * columns * channels, features)


def max_pool_2x2(
    inputs: Float[Array, "batch height width channels"],
) -> Float[Array, "batch half_height half_width channels"]:
    """The largest of each 2×2 block; much faster to differentiate on a CPU than `reduce_window`.

    Ties share the gradient equally. Raises ValueError for odd sizes.
    """
    batch, height, width, channels = inputs.shape
    if height % 2 or width % 2:
        raise ValueError(f"max_pool_2x2: height and width must be even, got {height}×{width}")
    blocks = inputs.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.max(blocks, axis=(2, 4))
