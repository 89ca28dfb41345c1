"""Means over a split in blocks, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads import run_mesh
from workloads.evaluation import mean_over_examples

VALUES = np.random.default_rng(0).normal(size=37).astype(np.float32)


def means(block_size):
    return jax.jit(
        lambda values: mean_over_examples(
            lambda index: {"value": values[index], "negative": values[index] < 0}, 37, block_size
        )
    )(jnp.asarray(VALUES))


@pytest.mark.parametrize("block_size", [1, 5, 12, 37, 100])
def test_every_example_counts_once_whatever_the_blocks(block_size):
    found = means(block_size)
    np.testing.assert_allclose(found["value"], VALUES.astype(np.float64).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["negative"], np.mean(VALUES < 0), rtol=1e-6)


def test_a_block_holds_no_more_than_may_be_measured_together():
    sizes = []

    def measure(index):
        sizes.append(len(index))
        return index * 1.0

    assert float(mean_over_examples(measure, 37, 10)) == 18
    assert set(sizes) == {10}


@pytest.mark.parametrize("block_size", [3, 37])
def test_devices_that_share_a_batch_share_the_blocks(block_size):
    with jax.set_mesh(run_mesh(4, data_parallel=4)):
        found = means(block_size)
    np.testing.assert_allclose(found["value"], VALUES.astype(np.float64).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["negative"], np.mean(VALUES < 0), rtol=1e-6)
