"""The workloads on image files: what is trained, what is measured, and that the bytes stay where they are."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from numpy.lib.stride_tricks import sliding_window_view

from workloads import images as image_workloads
from workloads import load, metric_names, run_keys, run_mesh, sweep, train

PARAMETERS = {  # image shape, options, parameters
    "cifar10": ((32, 32, 3), {}, 1_070_794),
    "mnist": ((28, 28, 1), {"model": "mlp"}, 784 * 128 + 128 + 128 * 10 + 10),
    "fashion_mnist": (
        (28, 28, 1),
        {"model": "cnn"},
        (9 * 32 + 32) + (9 * 32 * 64 + 64) + (7 * 7 * 64 * 256 + 256) + (256 * 10 + 10),
    ),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, cifar_batches, write_binary_batches, write_idx, random_split):
    """Miniatures of the published files, by workload."""
    root = tmp_path_factory.mktemp("data")
    write_binary_batches(root / "cifar10", cifar_batches)
    for name in ("mnist", "fashion_mnist"):
        write_idx(root / name, random_split(23, (28, 28), 0), random_split(9, (28, 28), 1), ".gz")
    return root


@pytest.fixture(scope="module")
def miniature(folders):
    """(workload, options) → the workload on its miniature."""
    return lambda name, **options: load(name, folder=str(folders / name), files="any", **options)


def numpy_convolution(images, layer):
    """3×3, padded with zeros, then ReLU and the largest of each 2×2 block."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = sliding_window_view(padded, (3, 3), axis=(1, 2))
    convolved = np.einsum("nhwcij,ijco->nhwo", windows, np.float64(layer["kernel"])) + np.float64(
        layer["bias"]
    )
    return sliding_window_view(np.maximum(convolved, 0), (2, 2), axis=(1, 2))[:, ::2, ::2].max(axis=(-2, -1))


def numpy_logits(params, images):
    """Of either model, in float64, from images in bytes."""
    layers, x = params["params"], np.float64(images) / 255
    for name in ("Conv_0", "Conv_1"):
        x = numpy_convolution(x, layers[name]) if name in layers else x
    dense, head = layers["Dense_0"], layers["head"]
    hidden = np.maximum(x.reshape(len(x), -1) @ np.float64(dense["kernel"]) + np.float64(dense["bias"]), 0)
    return hidden @ np.float64(head["kernel"]) + np.float64(head["bias"])


def numpy_cross_entropies(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_softmax = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -log_softmax[np.arange(len(labels)), labels]


@pytest.mark.parametrize("name", PARAMETERS)
def test_models_have_these_many_parameters(name, miniature):
    shape, options, count = PARAMETERS[name]
    workload = miniature(name, **options)
    assert workload.data.train_images.shape[1:] == shape
    params = jax.eval_shape(workload.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    convolutions = {"Conv_0", "Conv_1"} if options != {"model": "mlp"} else set()
    assert set(params["params"]) == convolutions | {"Dense_0", "head"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_images_stay_bytes_until_a_batch_is_gathered(name, miniature):
    workload = miniature(name)
    assert workload.data.train_images.dtype == workload.data.test_images.dtype == jnp.uint8
    chosen = np.array([4, 0, 17])
    images, labels = jax.jit(workload.batch)(workload.data, jnp.asarray(chosen))
    assert images.dtype == jnp.float32
    expected = np.float32(workload.data.train_images)[chosen] / np.float32(255)
    np.testing.assert_allclose(images, expected, rtol=2e-7, atol=0)  # one unit in the last place
    np.testing.assert_array_equal(labels, np.asarray(workload.data.train_labels)[chosen])


@pytest.mark.parametrize(
    ("name", "options", "values"),
    [
        ("cifar10", {}, 7 * 3072),  # 30 training images in 5 blocks of 6, 9 test images in 2 of 5
        ("mnist", {"model": "mlp"}, 10 * 784),  # 23 in 3 blocks of 8, 9 in one
        ("mnist", {"model": "mlp"}, 1),  # one by one
        ("fashion_mnist", {"model": "mlp"}, 2**18),  # all at once
    ],
)
def test_metrics_equal_numpy_in_float64_whatever_the_blocks(name, options, values, miniature, monkeypatch):
    monkeypatch.setattr(image_workloads, "EVALUATED_VALUES", values)
    workload = miniature(name, **options)
    params, data = jax.jit(workload.init)(jax.random.key(1)), workload.data
    metrics = jax.jit(workload.evaluate)(params, data)
    assert set(metrics) == set(metric_names(workload))
    for split in ("train", "test"):
        images, labels = (np.asarray(getattr(data, f"{split}_{part}")) for part in ("images", "labels"))
        logits = numpy_logits(params, images)
        loss = np.mean(numpy_cross_entropies(logits, labels))
        np.testing.assert_allclose(metrics[f"{split}_loss"], loss, rtol=1e-5)
        error = np.mean(logits.argmax(axis=1) != labels)
        np.testing.assert_allclose(metrics[f"{split}_error"], error, rtol=1e-6)


def test_blocks_bound_what_an_evaluation_holds_at_once(miniature, monkeypatch):
    workload = miniature("mnist", model="cnn")
    params = jax.eval_shape(workload.init, jax.random.key(0))

    def temporary_bytes(values):
        monkeypatch.setattr(image_workloads, "EVALUATED_VALUES", values)
        compiled = (
            jax.jit(lambda *arguments: workload.evaluate(*arguments)).lower(params, workload.data).compile()
        )
        return compiled.memory_analysis().temp_size_in_bytes

    layer, pooled = 28 * 28 * 32 * 4, 14 * 14 * 32 * 4  # bytes of one image's first layer
    assert temporary_bytes(2**18) > 16 * layer
    assert temporary_bytes(2 * 784) < 2 * layer + 4 * pooled


def test_the_loss_of_bfloat16_logits_is_taken_in_float32(miniature):
    workload = miniature("mnist")
    params = jax.jit(workload.init)(jax.random.key(2))
    images, labels = workload.batch(workload.data, jnp.arange(20))
    params, images = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (params, images))
    loss = jax.jit(workload.loss)(params, (images, labels), jax.random.key(0))
    logits = jax.jit(image_workloads.MLP_128.apply)(params, images)
    assert logits.dtype == jnp.bfloat16
    expected = np.mean(numpy_cross_entropies(np.float64(logits), np.asarray(labels)))
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def run_of(workload):
    def run(row, data):
        keys = run_keys(jax.random.wrap_key_data(row["key"]))
        return train(workload, data, optax.adam, row["rates"], keys, batch_size=4).metrics

    return run


def rows_of(seed, count=2):
    keys = jax.random.split(jax.random.key(seed), count)
    rates = np.full((count, 3), 1e-3 * (seed + 1), np.float32)
    return {"rates": rates, "key": np.asarray(jax.random.key_data(keys))}


def test_other_rates_seeds_and_images_compile_nothing(miniature):
    workload = miniature("fashion_mnist")
    run = run_of(workload)
    step = jax.jit(run)
    rows = [jax.tree.map(lambda leaf, seed=seed: leaf[0], rows_of(seed)) for seed in range(2)]
    first = step(rows[0], workload.data)
    brighter = workload.data._replace(train_images=255 - workload.data.train_images)
    others = [step(rows[1], workload.data), step(rows[0], brighter)]
    assert step._cache_size() == 1
    assert all(float(other["train_loss"][0]) != float(first["train_loss"][0]) for other in others)


def test_a_sweep_copies_no_images_to_the_devices_that_have_them(miniature, capfd):
    workload, mesh = miniature("mnist"), run_mesh(2)
    run = run_of(workload)
    on_host = jax.tree.map(np.asarray, workload.data)
    placed = jax.device_put(on_host, NamedSharding(mesh, PartitionSpec()))

    def copied(data, seed):
        capfd.readouterr()
        with jax.transfer_guard_host_to_device("log_explicit"):
            jax.block_until_ready(sweep(run, rows_of(seed), data, mesh=mesh))
        return capfd.readouterr().err

    images, rates = "uint8[23,28,28,1]", "float32[4,3]"  # the rows, as many as two devices take
    log = copied(on_host, 0)
    assert images in log
    assert rates in log
    log = copied(placed, 1)
    assert images not in log
    assert rates in log


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_unknown_models_are_refused_before_files_are_looked_for(name):
    with pytest.raises(ValueError, match=rf"{name}: model must be one of \['cnn', 'mlp'\], got 'resnet'"):
        load(name, model="resnet")


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_workload_without_its_files_says_where_they_belong(name, monkeypatch, tmp_path):
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    with pytest.raises(
        ValueError, match=f"{name}: expected .* come from http.* belong in {tmp_path / name}$"
    ):
        load(name)
