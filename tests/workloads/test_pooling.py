"""Max-pooling against the library's, ties included."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads.pooling import max_pool_2x2


def library(images):
    return nn.max_pool(images, (2, 2), strides=(2, 2))


@jax.jit
def both_pulled_back(images, cotangent):
    """Values and gradients, of ours and of the library's."""
    pairs = (jax.vjp(pool, images) for pool in (max_pool_2x2, library))
    return [(values, pullback(cotangent)[0]) for values, pullback in pairs]


@jax.jit
def summed_gradient(image):
    return jax.grad(lambda x: jnp.sum(max_pool_2x2(x)))(image)


@pytest.mark.parametrize("levels", [2, 3, 1000])  # of few levels most blocks hold ties
def test_values_and_gradients_are_the_librarys_bit_for_bit(levels):
    rng = np.random.default_rng(levels)
    images = np.float32(rng.integers(0, levels, (3, 8, 10, 5)))
    cotangent = np.float32(rng.normal(size=(3, 4, 5, 5)))
    (computed, gradient), (expected, expected_gradient) = both_pulled_back(images, cotangent)
    np.testing.assert_array_equal(computed, expected)
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.parametrize(
    ("block", "chosen"),
    [
        ([[0, 0], [0, 0]], [[1, 0], [0, 0]]),
        ([[0, 1], [1, 0]], [[0, 1], [0, 0]]),
        ([[1, 2], [2, 2]], [[0, 1], [0, 0]]),
        ([[-4, -3], [-1, -1]], [[0, 0], [1, 0]]),
        ([[-4, -3], [-2, -1]], [[0, 0], [0, 1]]),
    ],
)
def test_the_first_of_equal_pixels_gets_the_gradient(block, chosen):
    gradient = np.asarray(summed_gradient(np.float32(block)[None, :, :, None]))
    np.testing.assert_array_equal(gradient[0, :, :, 0], chosen)


def test_forward_mode_follows_the_same_pixel():
    image = np.float32([[1, 2], [2, 0]])[None, :, :, None]
    direction = np.float32([[1, 3], [5, 7]])[None, :, :, None]
    value, slope = jax.jit(functools.partial(jax.jvp, max_pool_2x2))((image,), (direction,))
    assert (value.item(), slope.item()) == (2, 3)


def test_nothing_that_diverged_is_hidden():
    image = np.float32([[1, np.nan], [2, 0]])[None, :, :, None]
    assert np.isnan(jax.jit(max_pool_2x2)(image)).all()


@pytest.mark.parametrize("size", [(3, 4), (4, 3)])
def test_odd_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"must be even, got {size[0]}×{size[1]}"):
        max_pool_2x2(jnp.zeros((1, *size, 1)))


def test_a_nan_stays_in_its_block():
    # at this size XLA's own maximum drops NaNs on a CPU
    images = np.zeros((2, 64, 64, 3), np.float32)
    images[1, 6, 11, 2] = np.nan
    unknown = np.isnan(jax.jit(max_pool_2x2)(images))
    assert unknown[1, 3, 5, 2]
    assert unknown.sum() == 1
