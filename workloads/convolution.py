"""Convolutions for Flax's hook `nn.Conv(conv_general_dilated=...)`, written for the platform they run on.

On a CPU, the gradient of XLA's own convolution is some 40 times slower inside `lax.scan` than outside, and a
kernel batched by `vmap` as slow everywhere. There the same numbers come from forward convolutions, which stay
fast, and matrix products; on other platforms from the library's convolution and pooling.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from workloads.pooling import largest, max_pool_2x2

Padding = tuple[tuple[int, int], ...]  # before and after, of the height and of the width
FEW_CHANNELS = 4  # up to which windows are so narrow that one product over 2×2 blocks of them is faster
ROWS_TOGETHER = 1024  # of patches: with their gradients they stay in a core's second-level cache


def convolution(
    inputs: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    window_strides: Sequence[int] | None,
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "batch out_height out_width features"]:
    """A stride-1 convolution: y[n, i, j, f] = Σ_rsc x[n, i + r, j + s, c] k[r, s, c, f] of the padded x.

    Raises ValueError for strides, dilations or groups.
    """
    pads = _plain_padding("convolution", inputs, kernel, window_strides, padding, options)
    return jax.lax.platform_dependent(
        inputs,
        kernel,
        cpu=functools.partial(_convolution, padding=pads),
        default=functools.partial(_library_convolution, padding=pads),
    )


def pooled_convolution(
    inputs: Float[Array, "batch height width channels"],
    kernel: Float[Array, "rows columns channels features"],
    window_strides: Sequence[int] | None,
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> Float[Array, "batch half_height half_width features"]:
    """The largest of each 2×2 block of a stride-1 convolution; of equal ones the first gets the gradient.

    The bias that `nn.Conv` adds afterwards, and a ReLU, change nothing in their order with pooling and are
    computed for a quarter of the places.

    Raises ValueError for strides, dilations or groups, and where the convolution has an odd size.
    """
    pads = _plain_padding("pooled_convolution", inputs, kernel, window_strides, padding, options)
    height, width = _output_size(inputs.shape, kernel.shape, pads)
    if height % 2 or width % 2:
        raise ValueError(
            f"pooled_convolution: height and width before the 2×2 pooling must be even, got {height}×{width}"
        )
    few = inputs.shape[-1] <= FEW_CHANNELS
    return jax.lax.platform_dependent(
        inputs,
        kernel,
        cpu=functools.partial(_pooled_blocks if few else _pooled, padding=pads),
        default=functools.partial(_library_pooled, padding=pads),
    )


def image_patches(
    inputs: Float[Array, "batch height width channels"],
    window: tuple[int, int],
    padding: str | Sequence[tuple[int, int]],
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


def _plain_padding(
    caller: str, inputs: Array, kernel: Array, window_strides, padding, options: Mapping[str, Any]
) -> Padding:
    """The padding as numbers; ValueError where an option makes it another convolution."""
    for name, value in {"window_strides": window_strides, **options}.items():
        plain = value is None or name in ("dimension_numbers", "precision", "preferred_element_type")
        if not plain and np.any(np.asarray(value) != 1):
            raise ValueError(f"{caller}: {name} must be 1 in every direction, got {value}")
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(inputs.shape[1:3], kernel.shape[:2], (1, 1), padding)
    (top, bottom), (left, right) = padding
    return (int(top), int(bottom)), (int(left), int(right))


def _output_size(images: Sequence[int], kernel: Sequence[int], padding: Padding) -> tuple[int, int]:
    height, width = (
        size + sum(pads) - taps + 1 for size, pads, taps in zip(images[1:3], padding, kernel[:2], strict=True)
    )
    return height, width


def _library_convolution(inputs: Array, kernel: Array, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(
        inputs, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _library_pooled(inputs: Array, kernel: Array, padding: Padding) -> Array:
    return nn.max_pool(_library_convolution(inputs, kernel, padding), (2, 2), strides=(2, 2))


def _pooled(inputs: Array, kernel: Array, padding: Padding) -> Array:
    return max_pool_2x2(_convolution(inputs, kernel, padding))


def _pooled_blocks(inputs: Array, kernel: Array, padding: Padding) -> Array:
    """The pooled convolution as one product: a row is what a 2×2 block of places sees together.

    The image is cut in 2×2 blocks, and so is what they see: the blocks' windows are a window of blocks.
    """
    rows, columns, channels, features = kernel.shape
    height, width = (size // 2 for size in _output_size(inputs.shape, kernel.shape, padding))
    window = rows // 2 + 1, columns // 2 + 1
    # a kernel of even size leaves a last row or column of the blocks unseen
    (top, bottom), (left, right) = padding
    padded = jnp.pad(inputs, ((0, 0), (top, bottom + 1 - rows % 2), (left, right + 1 - columns % 2), (0, 0)))
    row_taps, column_taps = width + window[1] - 1, height + window[0] - 1
    blocks = padded.reshape(-1, column_taps, 2, row_taps, 2, channels).swapaxes(2, 3)
    seen = image_patches(blocks.reshape(-1, column_taps, row_taps, 4 * channels), window, "VALID")
    shifted = [
        jnp.pad(kernel, ((i, 2 * window[0] - rows - i), (j, 2 * window[1] - columns - j), (0, 0), (0, 0)))
        for i in (0, 1)
        for j in (0, 1)
    ]
    stacked = jnp.stack(shifted, axis=-2).reshape(window[0], 2, window[1], 2, channels * 4 * features)
    product = seen.reshape(-1, seen.shape[-1]) @ stacked.swapaxes(1, 2).reshape(-1, 4 * features)
    return largest(product.reshape(-1, 4, features), (1,)).reshape(-1, height, width, features)


def _convolution(inputs: Array, kernel: Array, padding: Padding) -> Array:
    return convolution_p.bind(inputs, kernel, padding=padding)


def _input_gradient(cotangent: Array, inputs: Any, kernel: Array, *, padding: Padding) -> Array:
    """The convolution of the gradient with the kernel flipped."""
    pads = tuple(
        (taps - 1 - low, taps - 1 - high) for taps, (low, high) in zip(kernel.shape[:2], padding, strict=True)
    )
    # behind a barrier, or XLA would make of the flipped kernel a flipped convolution, which is slow
    flipped = jax.lax.optimization_barrier(kernel[::-1, ::-1].swapaxes(2, 3))
    return _convolution(cotangent, flipped, pads)


def _batched(arrays: tuple[Array, Array], axes: tuple[int | None, int | None], *, padding: Padding):
    """One convolution of all images where they share the kernel, a product over their patches if not."""
    inputs, kernel = arrays
    images_axis, kernel_axis = axes
    if kernel_axis is not None:
        product = jax.vmap(functools.partial(_product, padding=padding), axes)
        return product(inputs, kernel), 0
    inputs = jnp.moveaxis(inputs, images_axis, 0)
    outputs = _convolution(inputs.reshape(-1, *inputs.shape[2:]), kernel, padding)
    return outputs.reshape(*inputs.shape[:2], *outputs.shape[1:]), 0


def _product(inputs: Array, kernel: Array, padding: Padding) -> Array:
    rows, columns, _, features = kernel.shape
    return image_patches(inputs, (rows, columns), padding) @ kernel.reshape(-1, features)


def _kernel_gradient(cotangent: Array, inputs: Array, kernel: Any, *, padding: Padding) -> Array:
    """Σ over places of the outer product of a window and the gradient there, a few images after the other.

    One product for each row of the kernel, with the windows' columns side by side: a third of the copies that
    whole windows would take. Accumulated in float32 at least.
    """
    rows, columns, channels, features = kernel.aval.shape
    batch, height, width, _ = cotangent.shape
    exact = jnp.promote_types(inputs.dtype, jnp.float32)
    images_at_once = _largest_divisor(batch, ROWS_TOGETHER // (height * width))

    def add(total, images):
        inputs, cotangent = images
        strips = image_patches(inputs, (1, columns), padding)
        # behind a barrier, or XLA would undo the transposition in favour of a product that is slower
        slopes = jax.lax.optimization_barrier(cotangent.reshape(-1, features).T)
        products = [
            jnp.matmul(
                slopes,
                strips[:, row : row + height].reshape(-1, columns * channels),
                preferred_element_type=exact,
            )
            for row in range(rows)
        ]
        return total + jnp.stack(products), None

    groups = [x.reshape(batch // images_at_once, images_at_once, *x.shape[1:]) for x in (inputs, cotangent)]
    total, _ = jax.lax.scan(add, jnp.zeros((rows, features, columns * channels), exact), groups)
    return total.reshape(rows, features, columns, channels).transpose(0, 2, 3, 1).astype(inputs.dtype)


def _largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is at most `limit`, or 1."""
    return next(divisor for divisor in range(min(number, max(limit, 1)), 0, -1) if number % divisor == 0)


def _output(inputs, kernel, *, padding: Padding):
    height, width = _output_size(inputs.shape, kernel.shape, padding)
    return inputs.update(shape=(inputs.shape[0], height, width, kernel.shape[3]))


# The library's convolution with other gradients: a primitive, since `custom_vjp` rules out forward mode
convolution_p = Primitive("convolution")
convolution_p.def_abstract_eval(_output)
convolution_p.def_impl(jax.jit(_library_convolution, static_argnames="padding"))
mlir.register_lowering(convolution_p, mlir.lower_fun(_library_convolution, multiple_results=False))
ad.defbilinear(convolution_p, _input_gradient, _kernel_gradient)
batching.primitive_batchers[convolution_p] = _batched
