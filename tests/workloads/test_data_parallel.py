"""One run on several devices, which share every batch, against the same run on one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import AtOnce, Workload, epoch_indices, run_keys, run_mesh, sweep, train
from workloads.evaluation import mean_over_examples
from workloads.images import CNN, ImageData, classification
from workloads.program import Program

STEPS, BATCH = 4, 32
POINTS = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)


def losses(params, points):
    return (jnp.tanh(points @ params["inner"]) @ params["head"] - jnp.prod(points, axis=1)) ** 2


NETWORK = Workload(
    data=jnp.asarray(POINTS),
    init=lambda key: {"inner": jax.random.normal(key, (6, 128)), "head": jnp.full(128, 0.01)},
    indices=lambda key, batch_size, num_steps: epoch_indices(key, 80, batch_size, num_steps),
    batch=lambda data, indices: data[indices],
    loss=lambda params, points, key: jnp.mean(losses(params, points)),
    evaluate=lambda params, data: {
        "loss": mean_over_examples(lambda index: losses(params, data[index]), 80, block_size=24)
    },
)


@functools.cache
def runner(**options):
    """The same function for the same options, so that tests share its programs."""

    def run(row, data):
        keys = run_keys(row["key"])
        return train(NETWORK, data, optax.sgd, row["rates"], keys, batch_size=BATCH, **options)

    return run


def rows(count):
    rates = np.linspace(0.01, 0.03, count, dtype=np.float32)[:, None] * np.linspace(1, 0.2, STEPS)
    return {"rates": np.float32(rates), "key": jax.random.split(jax.random.key(1), count)}


def assert_close(computed, expected):
    # float32 sums of 32 examples in another order, over four steps
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), computed, expected)


@pytest.mark.parametrize(("devices", "data_parallel"), [(4, 2), (8, 8)])
def test_runs_on_devices_that_share_batches_equal_runs_on_one(devices, data_parallel):
    mesh = run_mesh(devices, data_parallel=data_parallel)
    assert dict(mesh.shape) == {"runs": devices // data_parallel, "data": data_parallel}
    run = runner(evaluate_at=(0, STEPS))
    assert_close(
        sweep(run, rows(5), NETWORK.data, mesh=mesh), sweep(run, rows(5), NETWORK.data, mesh=run_mesh(1))
    )


@pytest.mark.parametrize("options", [{"parts": 4}, {"parts": 2, "microbatches": 2}])
def test_parts_and_microbatches_are_shared_too(options):
    run, mesh = runner(average_decay=0.5, **options), run_mesh(2, data_parallel=2)
    assert_close(sweep(run, rows(2), NETWORK.data, mesh=mesh), sweep(run, rows(2), NETWORK.data))


def test_runs_side_by_side_share_their_batches_too():
    run, mesh = runner(evaluate_at=(0, STEPS)), run_mesh(8, data_parallel=2)
    joint = sweep(run, rows(5), NETWORK.data, mesh=mesh, vectorize=2)
    assert_close(joint, sweep(run, rows(5), NETWORK.data, mesh=run_mesh(1)))


def test_noise_inside_the_loss_does_not_depend_on_who_computes_it():
    def noisy(params, points, key):
        return NETWORK.loss(params, points * jax.random.bernoulli(key, 0.5, points.shape), key)

    workload = NETWORK._replace(loss=noisy)

    def run(row, data):
        return train(workload, data, optax.sgd, row["rates"], run_keys(row["key"]), batch_size=BATCH).params

    single, four = (
        sweep(run, rows(1), NETWORK.data, mesh=mesh) for mesh in (run_mesh(1), run_mesh(4, data_parallel=4))
    )
    assert_close(four, single)


def test_a_device_computes_its_share_of_every_batch_alone():
    def batch_rows(mesh):
        text = Program(AtOnce(runner()), mesh, 1).lower(rows(1), NETWORK.data, 1).compile().as_text()
        return {size for size in (32, 16, 8) if f"f32[{size},128]" in text}, "all-reduce" in text

    assert batch_rows(run_mesh(1)) == ({32}, False)
    assert batch_rows(run_mesh(4, data_parallel=4)) == ({8}, True)


def test_a_run_of_ones_own_is_split_in_the_mesh_in_scope():
    keys, rates = run_keys(jax.random.key(2)), jnp.full(STEPS, 0.02)

    def run(data):
        return train(NETWORK, data, optax.sgd, rates, keys, batch_size=BATCH).params

    with jax.set_mesh(run_mesh(4, data_parallel=4)):
        shared = jax.jit(run)(NETWORK.data)
    assert_close(shared, jax.jit(run)(NETWORK.data))


def test_a_batch_that_its_devices_do_not_divide_is_refused():
    run = runner(microbatches=8)  # four examples at a time
    with pytest.raises(ValueError, match=r"each of the 8 devices .* got 4 computed together"):
        sweep(run, rows(1), NETWORK.data, mesh=run_mesh(8, data_parallel=8))


@pytest.mark.parametrize("data_parallel", [0, 3, 16])
def test_meshes_that_do_not_come_out_even_are_refused(data_parallel):
    with pytest.raises(ValueError, match=f"divisor of the 8 devices, got {data_parallel}"):
        run_mesh(8, data_parallel=data_parallel)


def test_convolutions_are_shared_like_everything_else():
    random = np.random.default_rng(1)
    pixels = jnp.asarray(random.integers(0, 256, (40, 4, 4, 5), np.uint8))
    labels = jnp.asarray(random.integers(0, 10, 40))
    images = classification(ImageData(pixels, labels, pixels[:9], labels[:9]), CNN(10, (6,)))

    def run(row, data):
        return train(images, data, optax.sgd, row["rates"], run_keys(row["key"]), batch_size=16).params

    mesh = run_mesh(2, data_parallel=2)
    assert_close(
        sweep(run, rows(1), images.data, mesh=mesh), sweep(run, rows(1), images.data, mesh=run_mesh(1))
    )
