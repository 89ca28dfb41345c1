"""What crosses from the host to the devices while runs are trained."""

import jax
import numpy as np
import optax
import pytest

from workloads import load, replicated, run_keys, run_mesh, sweep, train

DIGITS = load("digits")


def one_run(row, data):
    return train(DIGITS, data, optax.adam, row["rates"], run_keys(row["key"]), batch_size=16).metrics


def rows(count):
    rates = np.full((count, 3), 1e-3, np.float32)
    return jax.device_put({"rates": rates, "key": jax.random.split(jax.random.key(0), count)})


def test_a_sweep_copies_nothing_of_its_data_and_a_step_nothing_at_all():
    mesh = run_mesh(2)
    inputs, data = rows(4), replicated(DIGITS.data, mesh)
    sweep(one_run, inputs, data, mesh=mesh)  # compiles
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(sweep(one_run, inputs, data, mesh=mesh))


def test_the_guard_would_see_a_copy_of_the_data():
    images = np.asarray(DIGITS.data.train_images)
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="host-to-device"):
        jax.jit(lambda images: images.sum())(images)


def test_replicated_data_are_on_every_device_and_are_not_placed_again():
    mesh = run_mesh(4)
    placed = replicated(DIGITS.data, mesh)
    assert all(leaf.sharding.is_fully_replicated for leaf in placed)
    assert {shard.device for shard in placed.train_images.addressable_shards} == set(jax.devices()[:4])
    again = replicated(placed, mesh)
    pointers = [
        [shard.data.unsafe_buffer_pointer() for shard in data.train_images.addressable_shards]
        for data in (placed, again)
    ]
    assert pointers[0] == pointers[1]
    np.testing.assert_array_equal(placed.train_images, DIGITS.data.train_images)
