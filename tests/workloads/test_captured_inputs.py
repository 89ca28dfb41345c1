"""The activations that enter each layer: times the kernel they are the layer's own output."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from workloads.convolution import convolution, image_patches
from workloads.layers import captured_inputs
from workloads.transformer import Transformer

IMAGES = np.float32(np.random.default_rng(0).normal(size=(2, 5, 6, 3)))


class Mixed(nn.Module):
    """Convolutions with every kind of padding, and dense layers under modules of their own."""

    @nn.compact
    def __call__(self, images):
        x = nn.Conv(4, (3, 2), name="same")(images)
        x = nn.Conv(3, (2, 3), padding="VALID", use_bias=False, name="valid")(x)
        x = nn.Conv(2, (2, 2), padding=((1, 0), (0, 2)), conv_general_dilated=convolution)(x)
        return nn.Sequential([nn.Dense(5), nn.relu, nn.Dense(4, use_bias=False)], name="tail")(x)


def assert_products_are_outputs(model, *arguments):
    """A · kernel + bias against what Flax records of every layer's output, and the paths."""
    variables = jax.tree.map(np.asarray, jax.jit(model.init)(jax.random.key(1), *arguments))
    inputs = jax.jit(lambda *given: captured_inputs(model.apply, *given))(variables, *arguments)
    record = functools.partial(model.apply, capture_intermediates=True, mutable=["intermediates"])
    _, recorded = jax.jit(record)(variables, *arguments)
    outputs = flatten_dict(recorded["intermediates"], sep="/")
    params = flatten_dict(variables, sep="/")
    assert set(inputs) == {path for path in params if path.endswith("/kernel")}
    for path, a in inputs.items():
        layer = path.removeprefix("params/").removesuffix("kernel")
        kernel = params[path].reshape(-1, params[path].shape[-1])
        product = np.float64(a) @ np.float64(kernel) + params.get(f"params/{layer}bias", np.zeros(1))[None]
        (output,) = map(np.asarray, outputs[f"{layer}__call__"])
        # sums of up to a hundred products of order one
        np.testing.assert_allclose(product, output.reshape(product.shape), rtol=1e-5, atol=2e-5, err_msg=path)


def test_convolutions_and_dense_layers():
    assert_products_are_outputs(Mixed(), IMAGES)


def test_a_transformer_of_two_blocks():
    model = Transformer(num_tokens=7, context=6, width=8, layers=2, heads=2)
    ids = jnp.asarray(np.random.default_rng(0).integers(0, 7, (3, 6)), jnp.uint8)
    assert_products_are_outputs(model, ids)


def test_a_layer_on_its_own():
    assert_products_are_outputs(nn.Dense(3), IMAGES)


def test_the_last_input_of_a_layer_called_twice_is_kept():
    class Twice(nn.Module):
        @nn.compact
        def __call__(self, x):
            layer = nn.Dense(x.shape[-1], name="layer")
            return layer(jnp.tanh(layer(x)))

    x = IMAGES[0, 0]
    variables = jax.jit(Twice().init)(jax.random.key(2), x)
    layer = variables["params"]["layer"]
    first = np.asarray(x, np.float64) @ layer["kernel"] + np.asarray(layer["bias"])[None]
    inputs = jax.jit(lambda *given: captured_inputs(Twice().apply, *given))(variables, x)
    np.testing.assert_allclose(inputs["params/layer/kernel"], np.tanh(first), atol=1e-5)


@pytest.mark.parametrize(
    ("window", "padding", "pads"),
    [
        ((2, 3), "VALID", ((0, 0), (0, 0))),
        ((2, 3), "SAME", ((0, 1), (1, 1))),
        ((1, 1), "SAME", ((0, 0), (0, 0))),
        ((3, 2), ((2, 0), (0, 1)), ((2, 0), (0, 1))),
    ],
)
def test_patches_are_windows_cut_out(window, padding, pads):
    patches = jax.jit(image_patches, static_argnums=(1, 2))(IMAGES, window, padding)
    padded = np.pad(IMAGES, ((0, 0), *pads, (0, 0)))
    (rows, columns), (batch, height, width) = window, patches.shape[:3]
    assert (height, width) == (padded.shape[1] - rows + 1, padded.shape[2] - columns + 1)
    for n, row, column in np.ndindex(batch, height, width):
        expected = padded[n, row : row + rows, column : column + columns].ravel()
        np.testing.assert_array_equal(patches[n, row, column], expected)
