"""Fast layers against the library's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads.layers import max_pool_2x2, patches_convolution

IMAGES = jax.random.normal(jax.random.key(0), (3, 6, 7, 2))
NHWC = ("NHWC", "HWIO", "NHWC")


def library_convolution(images, kernel, padding):
    return jax.lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=NHWC)


def values_and_gradients(convolution, kernel):
    """The output, and its pull-back to images and kernel from one random cotangent."""
    shape = jax.eval_shape(convolution, IMAGES, kernel).shape
    cotangent = np.random.default_rng(2).normal(size=shape).astype(np.float32)

    @jax.jit
    def both(images, kernel, cotangent):
        values, pullback = jax.vjp(convolution, images, kernel)
        return values, *pullback(cotangent)

    return both(IMAGES, kernel, cotangent)


@pytest.mark.parametrize(
    ("size", "padding"),
    [
        ((1, 1), "SAME"),
        ((3, 3), "SAME"),
        ((3, 3), "VALID"),
        ((2, 3), "SAME"),
        ((2, 3), "SAME_LOWER"),
        ((5, 4), "VALID"),
        ((5, 4), ((1, 2), (0, 3))),
    ],
)
def test_patches_convolution_equals_the_library_in_values_and_gradients(size, padding):
    kernel = jax.random.normal(jax.random.key(1), (*size, 2, 4))
    expected = values_and_gradients(lambda x, k: library_convolution(x, k, padding), kernel)
    computed = values_and_gradients(lambda x, k: patches_convolution(x, k, (1, 1), padding), kernel)
    for ours, theirs in zip(computed, expected, strict=True):
        # sums of up to 126 products of order one, added in different orders
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=5e-5)


@pytest.mark.parametrize("padding", ["SAME", ((1, 0), (2, 1))])
def test_a_flax_convolution_is_the_same_with_patches(padding):
    plain = nn.Conv(4, (3, 2), padding=padding)
    params = plain.init(jax.random.key(3), IMAGES)
    patched = nn.Conv(4, (3, 2), padding=padding, conv_general_dilated=patches_convolution)
    np.testing.assert_allclose(
        jax.jit(patched.apply)(params, IMAGES), plain.apply(params, IMAGES), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    "option",
    [
        {"window_strides": (2, 1)},
        {"window_strides": (2, 2)},
        {"lhs_dilation": (2, 2)},
        {"rhs_dilation": (1, 2)},
        {"feature_group_count": 2},
        {"batch_group_count": 3},
    ],
)
def test_unsupported_options_are_refused_by_name(option):
    (name,) = option
    options = {"window_strides": (1, 1), "padding": "SAME", **option}
    with pytest.raises(ValueError, match=f"{name} must be 1"):
        patches_convolution(IMAGES, jnp.ones((3, 3, 2, 6)), **options)


@pytest.mark.parametrize("option", [{"strides": 2}, {"kernel_dilation": 2}])
def test_a_flax_convolution_with_unsupported_options_is_refused(option):
    layer = nn.Conv(4, (3, 3), conv_general_dilated=patches_convolution, **option)
    with pytest.raises(ValueError, match=r"patches_convolution: .* must be 1"):
        layer.init(jax.random.key(0), IMAGES)


def test_max_pool_equals_the_library_in_values_and_gradients():
    images = jax.random.normal(jax.random.key(4), (2, 4, 6, 3))
    expected, expected_pullback = jax.vjp(lambda x: nn.max_pool(x, (2, 2), strides=(2, 2)), images)
    computed, pullback = jax.vjp(max_pool_2x2, images)
    np.testing.assert_array_equal(computed, expected)
    cotangent = jax.random.normal(jax.random.key(5), expected.shape)
    np.testing.assert_array_equal(pullback(cotangent)[0], expected_pullback(cotangent)[0])


@pytest.mark.parametrize(
    ("block", "shares"),
    [
        ([[0, 0], [0, 0]], [[0.25, 0.25], [0.25, 0.25]]),
        ([[1, 0], [0, 1]], [[0.5, 0], [0, 0.5]]),
        ([[2, 2], [1, 2]], [[1 / 3, 1 / 3], [0, 1 / 3]]),
        ([[-1, -3], [-2, -4]], [[1, 0], [0, 0]]),
    ],
)
def test_tied_pixels_share_the_gradient(block, shares):
    image = jnp.asarray(block, jnp.float32)[None, :, :, None]
    gradient = jax.grad(lambda x: jnp.sum(max_pool_2x2(x)))(image)
    np.testing.assert_allclose(gradient[0, :, :, 0], shares, rtol=1e-6)


@pytest.mark.parametrize("size", [(3, 4), (4, 3)])
def test_odd_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"must be even, got {size[0]}×{size[1]}"):
        max_pool_2x2(jnp.zeros((1, *size, 1)))
