"""A look at what enters each layer."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from flax.linen.linear import canonicalize_padding
from jaxtyping import Array, Float

from workloads.convolution import image_patches


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
