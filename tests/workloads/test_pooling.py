"""Max-pooling against the library's, ties included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads.pooling import max_pool_2x2


def library(images):
    return nn.max_pool(images, (2, 2), strides=(2, 2))


@pytest.mark.parametrize("levels", [2, 3, 1000])  # of few levels most blocks hold ties
def test_values_and_gradients_are_the_librarys_bit_for_bit(levels):
    rng = np.random.default_rng(levels)
    images = jnp.asarray(rng.integers(0, levels, (3, 8, 10, 5)), jnp.float32)
    expected, expected_pullback = jax.vjp(library, images)
    computed, pullback = jax.vjp(max_pool_2x2, images)
    np.testing.assert_array_equal(computed, expected)
    cotangent = jnp.asarray(rng.normal(size=expected.shape), jnp.float32)
    np.testing.assert_array_equal(pullback(cotangent)[0], expected_pullback(cotangent)[0])


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
    image = jnp.asarray(block, jnp.float32)[None, :, :, None]
    gradient = jax.grad(lambda x: jnp.sum(max_pool_2x2(x)))(image)
    np.testing.assert_array_equal(gradient[0, :, :, 0], chosen)


def test_forward_mode_follows_the_same_pixel():
    image = jnp.asarray([[1, 2], [2, 0]], jnp.float32)[None, :, :, None]
    direction = jnp.asarray([[1, 3], [5, 7]], jnp.float32)[None, :, :, None]
    value, slope = jax.jvp(max_pool_2x2, (image,), (direction,))
    assert (value.item(), slope.item()) == (2, 3)


def test_nothing_that_diverged_is_hidden():
    image = jnp.asarray([[1, jnp.nan], [2, 0]])[None, :, :, None]
    assert np.isnan(max_pool_2x2(image)).all()


@pytest.mark.parametrize("size", [(3, 4), (4, 3)])
def test_odd_sizes_are_refused(size):
    with pytest.raises(ValueError, match=f"must be even, got {size[0]}×{size[1]}"):
        max_pool_2x2(jnp.zeros((1, *size, 1)))


def test_a_nan_stays_in_its_block():
    # at this size XLA's own maximum drops NaNs on a CPU
    images = jnp.zeros((2, 64, 64, 3)).at[1, 6, 11, 2].set(jnp.nan)
    unknown = np.isnan(jax.jit(max_pool_2x2)(images))
    assert unknown[1, 3, 5, 2]
    assert unknown.sum() == 1
