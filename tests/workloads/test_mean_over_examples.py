"""Means over a split in blocks, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workloads import run_mesh
from workloads.evaluation import mean_over_examples

VALUES = np.random.default_rng(0).normal(size=37).astype(np.float32)


def means(together):
    return jax.jit(
        lambda values: mean_over_examples(
            lambda index: {"value": values[index], "negative": values[index] < 0}, 37, together
        )
    )(jnp.asarray(VALUES))


@pytest.mark.parametrize("together", [1, 5, 12, 37, 100])
def test_every_example_counts_once_whatever_the_blocks(together):
    found = means(together)
    np.testing.assert_allclose(found["value"], VALUES.astype(np.float64).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["negative"], np.mean(VALUES < 0), rtol=1e-6)


def test_a_block_holds_no_more_than_may_be_measured_together():
    sizes = []

    def measure(index):
        sizes.append(len(index))
        return index * 1.0

    assert float(mean_over_examples(measure, 37, 10)) == 18
    assert set(sizes) == {10}


@pytest.mark.parametrize("together", [3, 37])
def test_devices_that_share_a_batch_share_the_blocks(together):
    with jax.set_mesh(run_mesh(4, data_parallel=4)):
        found = means(together)
    np.testing.assert_allclose(found["value"], VALUES.astype(np.float64).mean(), rtol=1e-5)
    np.testing.assert_allclose(found["negative"], np.mean(VALUES < 0), rtol=1e-6)
