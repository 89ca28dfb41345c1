"""Layers written so that they are fast where the usual form is not, and a look at what enters each layer."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.linear import canonicalize_padding
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
    return image_patches(inputs, (rows, columns), padding) @ kernel.reshape(
        rows * columns * channels, features
    )


def image_patches(
    inputs: Float[Array, "batch height width channels"], window: tuple[int, int], padding
) -> Float[Array, "batch out_height out_width taps_channels"]:
    """What a stride-1 convolution sees at every place: its window, tap after tap, as one row."""
    rows, columns = window
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(inputs.shape[1:3], window, (1, 1), padding)
    padded = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
    height, width = padded.shape[1] - rows + 1, padded.shape[2] - columns + 1
    shifted = [
        padded[:, row : row + height, column : column + width]
        for row in range(rows)
        for column in range(columns)
    ]
    return jnp.concatenate(shifted, axis=-1)


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


def captured_inputs(function: Callable[..., Any], *arguments: Any) -> dict[str, Float[Array, "rows fan_in"]]:
    """The activations that enter each dense or convolutional Flax (Linen) layer while a function runs.

    Matrices A with the layer's output A · kernel: a row for every example, token or place of a convolution's
    window. `function` may be anything that applies a model, such as `workload.loss`; inside `jit` too. Of a
    layer that is called twice, the last input is kept.

    Returns:
      By the path of the layer's kernel, such as "params/block_0/up/kernel".

    Raises:
      ValueError: a convolution is not of batches of images, or has a stride, a dilation, groups or circular
        padding.
    """
    inputs = {}

    def record(call, arguments, options, context):
        layer = context.module
        if context.method_name == "__call__" and isinstance(layer, nn.Dense | nn.Conv):
            x = arguments[0] if arguments else options["inputs"]
            path = "/".join(("params", *layer.path, "kernel"))
            if isinstance(layer, nn.Conv):
                x = image_patches(x, layer.kernel_size, _plain_padding(path, layer, x))
            inputs[path] = x.reshape(-1, x.shape[-1])
        return call(*arguments, **options)

    with nn.intercept_methods(record):
        function(*arguments)
    return inputs


def _plain_padding(path: str, layer: nn.Conv, inputs: Array) -> str | Sequence[tuple[int, int]]:
    """The padding of a convolution that `image_patches` can stand for; ValueError for any other."""
    factors = (layer.strides, layer.kernel_dilation, layer.input_dilation, layer.feature_group_count)
    plain = all(factor is None or np.all(np.asarray(factor) == 1) for factor in factors)
    padding = canonicalize_padding(layer.padding, inputs.ndim - 2)
    if inputs.ndim != 4 or not plain or padding == "CIRCULAR":
        raise ValueError(
            f"{path}: only convolutions of batches of images can be captured, without stride, dilation,"
            f" groups or circular padding, got {layer}"
        )
    return padding
