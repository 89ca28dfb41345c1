"""One run on several devices, which share every batch, against the same run on one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import load, run_keys, run_mesh, sweep, train
from workloads.sweep import lower_sweep

DIGITS = load("digits")
STEPS, BATCH = 6, 32


def runner(**options):
    def run(row, data):
        keys = run_keys(row["key"])
        return train(DIGITS, data, optax.sgd, row["rates"], keys, batch_size=BATCH, **options)

    return run


def rows(count):
    rates = np.linspace(0.05, 0.2, count, dtype=np.float32)[:, None] * np.linspace(1, 0.2, STEPS)
    return {"rates": np.float32(rates), "key": jax.random.split(jax.random.key(1), count)}


def assert_close(computed, expected):
    # float32 sums of 32 examples in another order, over six steps
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), computed, expected)


@pytest.mark.parametrize(("devices", "data_parallel"), [(2, 2), (4, 2), (8, 8)])
def test_runs_on_devices_that_share_batches_equal_runs_on_one(devices, data_parallel):
    mesh = run_mesh(devices, data_parallel=data_parallel)
    assert dict(mesh.shape) == {"runs": devices // data_parallel, "data": data_parallel}
    run = runner(evaluate_at=(0, STEPS))
    assert_close(
        sweep(run, rows(3), DIGITS.data, mesh=mesh), sweep(run, rows(3), DIGITS.data, mesh=run_mesh(1))
    )


@pytest.mark.parametrize("options", [{"parts": 4}, {"microbatches": 4}, {"parts": 2, "microbatches": 2}])
def test_parts_and_microbatches_are_shared_too(options):
    run, mesh = runner(average_decay=0.5, **options), run_mesh(2, data_parallel=2)
    assert_close(sweep(run, rows(2), DIGITS.data, mesh=mesh), sweep(run, rows(2), DIGITS.data))


def test_runs_side_by_side_share_their_batches_too():
    run, mesh = runner(), run_mesh(8, data_parallel=2)
    together = sweep(run, rows(5), DIGITS.data, mesh=mesh, vectorize=2)
    assert_close(together, sweep(run, rows(5), DIGITS.data, mesh=run_mesh(1)))


def test_noise_inside_the_loss_does_not_depend_on_who_computes_it():
    def noisy(params, batch, key):
        images, labels = batch
        dropped = images * jax.random.bernoulli(key, 0.5, images.shape)
        return DIGITS.loss(params, (dropped, labels), key)

    workload = DIGITS._replace(loss=noisy)

    def run(row, data):
        return train(workload, data, optax.sgd, row["rates"], run_keys(row["key"]), batch_size=BATCH).params

    one, four = (
        sweep(run, rows(1), DIGITS.data, mesh=mesh) for mesh in (run_mesh(1), run_mesh(4, data_parallel=4))
    )
    assert_close(four, one)


def test_a_device_computes_its_share_of_every_batch_alone():
    def batch_rows(mesh):
        text = lower_sweep(runner(), rows(1), DIGITS.data, mesh=mesh).compile().as_text()
        return {size for size in (32, 16, 8) if f"f32[{size},128]" in text}, "all-reduce" in text

    assert batch_rows(run_mesh(1)) == ({32}, False)
    assert batch_rows(run_mesh(4, data_parallel=4)) == ({8}, True)


def test_a_run_of_ones_own_is_split_in_the_mesh_in_scope():
    keys, rates = run_keys(jax.random.key(2)), jnp.full(STEPS, 0.1)

    def run(data):
        return train(DIGITS, data, optax.sgd, rates, keys, batch_size=BATCH).params

    with jax.set_mesh(run_mesh(4, data_parallel=4)):
        shared = jax.jit(run)(DIGITS.data)
    assert_close(shared, jax.jit(run)(DIGITS.data))


def test_a_batch_that_its_devices_do_not_divide_is_refused():
    run = runner(microbatches=8)  # four examples at a time
    with pytest.raises(ValueError, match=r"each of the 8 devices .* got 4 computed together"):
        sweep(run, rows(1), DIGITS.data, mesh=run_mesh(8, data_parallel=8))


@pytest.mark.parametrize("data_parallel", [0, 3, 16])
def test_meshes_that_do_not_come_out_even_are_refused(data_parallel):
    with pytest.raises(ValueError, match=f"divisor of the 8 devices, got {data_parallel}"):
        run_mesh(8, data_parallel=data_parallel)
