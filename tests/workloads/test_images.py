"""The digits data, the image models and their metrics."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn import datasets

from workloads import load, run_keys, train
from workloads.images import CNN

PARAMETERS = {
    "mlp": 64 * 128 + 128 + 128 * 10 + 10,
    "cnn": (3 * 3 * 1 * 16 + 16) + (3 * 3 * 16 * 32 + 32) + (2 * 2 * 32 * 10 + 10),
}


def numpy_mlp(params, images):
    """Logits and hidden activations in float64."""
    dense, head = params["params"]["Dense_0"], params["params"]["head"]
    x = np.asarray(images, np.float64).reshape(len(images), -1)
    hidden = np.maximum(x @ np.float64(dense["kernel"]) + np.float64(dense["bias"]), 0)
    return hidden @ np.float64(head["kernel"]) + np.float64(head["bias"]), hidden


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def cross_entropy(logits, labels):
    return -np.mean(np.log(softmax(logits)[np.arange(len(labels)), np.asarray(labels)]))


def test_digits_are_split_in_1437_and_360_images_with_pixels_in_unit_range():
    data = load("digits").data
    assert data.train_images.shape == (1437, 8, 8, 1)
    assert data.test_images.shape == (360, 8, 8, 1)
    assert data.train_labels.shape == (1437,)
    assert data.test_labels.shape == (360,)
    for images in (data.train_images, data.test_images):
        assert images.dtype == np.float32
        assert (float(images.min()), float(images.max())) == (0, 1)


def test_the_two_splits_together_are_scikit_learns_digits():
    data, source = load("digits").data, datasets.load_digits()
    images = np.concatenate([data.train_images, data.test_images]).reshape(-1, 64) * 16
    labels = np.concatenate([data.train_labels, data.test_labels])
    ours = np.column_stack([images, labels])
    theirs = np.column_stack([source.data, source.target])
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


def test_classes_are_split_in_equal_proportion():
    data = load("digits").data
    train_counts, test_counts = (
        np.bincount(labels, minlength=10) for labels in (data.train_labels, data.test_labels)
    )
    share = (train_counts + test_counts) * 1437 / 1797
    assert np.max(np.abs(train_counts - share)) <= 1


@pytest.mark.parametrize("model", PARAMETERS)
def test_models_have_these_many_parameters_and_a_head(model):
    workload = load("digits", model=model)
    params = jax.eval_shape(workload.init, jax.random.key(0))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[model]
    assert params["head"]["kernel"].shape == ({"mlp": 128, "cnn": 128}[model], 10)


def test_the_mlp_is_as_wide_as_it_is_told():
    params = jax.eval_shape(load("digits", width=5).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 64 * 5 + 5 + 5 * 10 + 10
    for wrong in ({"width": 0}, {"width": 5, "model": "cnn"}):
        with pytest.raises(ValueError, match="width must be at least 1, and of the mlp, got"):
            load("digits", **wrong)


def test_metrics_of_the_mlp_equal_numpy_in_float64():
    workload = load("digits")
    params = jax.jit(workload.init)(jax.random.key(1))
    metrics = jax.jit(workload.evaluate)(params, workload.data)
    data = workload.data
    for split, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        logits, _ = numpy_mlp(params, images)
        np.testing.assert_allclose(metrics[f"{split}_loss"], cross_entropy(logits, labels), rtol=1e-5)
        error = np.mean(logits.argmax(axis=1) != np.asarray(labels))
        np.testing.assert_allclose(metrics[f"{split}_error"], error, rtol=1e-6)


def test_loss_of_a_batch_and_its_gradient_equal_numpy_in_float64():
    workload = load("digits")
    params, chosen = jax.jit(workload.init)(jax.random.key(2)), np.array([5, 900, 17, 1436])
    batch = workload.batch(workload.data, jnp.asarray(chosen))
    loss, gradient = jax.jit(jax.value_and_grad(workload.loss))(params, batch, jax.random.key(0))
    images = np.asarray(workload.data.train_images, np.float64)[chosen].reshape(4, -1)
    labels = np.asarray(workload.data.train_labels)[chosen]
    logits, hidden = numpy_mlp(params, images)
    slope = (softmax(logits) - np.eye(10)[labels]) / 4
    hidden_slope = (slope @ np.float64(params["params"]["head"]["kernel"]).T) * (hidden > 0)
    expected = {
        "head": {"kernel": hidden.T @ slope, "bias": slope.sum(axis=0)},
        "Dense_0": {"kernel": images.T @ hidden_slope, "bias": hidden_slope.sum(axis=0)},
    }
    np.testing.assert_allclose(loss, cross_entropy(logits, labels), rtol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
        gradient["params"],
        expected,
    )


@pytest.mark.parametrize("model", PARAMETERS)
def test_untrained_models_guess(model):
    workload = load("digits", model=model)
    few = jax.tree.map(lambda leaf: leaf[:200], workload.data)
    metrics = jax.jit(jax.vmap(lambda key: workload.evaluate(workload.init(key), few)))(
        jax.random.split(jax.random.key(3), 8)
    )
    # logits of standard deviation s add about s²/2 to log 10: 0.2 is s = 0.6
    np.testing.assert_allclose(np.mean(metrics["train_loss"]), np.log(10), atol=0.2)
    assert np.mean(metrics["train_error"]) > 0.8  # chance is 0.9


def test_the_cifar10_network_has_1070794_parameters():
    model = CNN(num_classes=10, features=(32, 64), hidden=(256,))
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 1_070_794
    assert [params[f"Conv_{i}"]["kernel"].shape for i in (0, 1)] == [(3, 3, 3, 32), (3, 3, 32, 64)]
    assert [params[name]["kernel"].shape for name in ("Dense_0", "head")] == [(4096, 256), (256, 10)]


def test_a_third_pooling_of_28_pixels_is_refused():
    model = CNN(num_classes=10, features=(2, 2, 2))
    with pytest.raises(ValueError, match="must be even, got 7×7"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))


class LibraryCNN(nn.Module):
    """The CNN with Flax's own convolution and pooling."""

    @nn.compact
    def __call__(self, images):
        x = images
        for features in (16, 32):
            x = nn.max_pool(nn.relu(nn.Conv(features, (3, 3))(x)), (2, 2), strides=(2, 2))
        x = nn.relu(nn.Dense(20)(x.reshape(x.shape[0], -1)))
        return nn.Dense(10, name="head")(x)


def test_the_cnn_equals_flaxs_own_layers_in_logits_and_gradients():
    images = jax.random.uniform(jax.random.key(4), (5, 8, 8, 1)).at[:2, :, :5].set(0.5)  # flat: ties
    params = jax.jit(LibraryCNN().init)(jax.random.key(5), images)

    def logits_and_gradient(model):
        def loss(params):
            logits = model.apply(params, images)
            return jnp.sum(jax.nn.log_softmax(logits)[:, 3]), logits

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    computed, expected = (logits_and_gradient(model) for model in (CNN(10, hidden=(20,)), LibraryCNN()))
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5),
        computed,
        expected,
    )


@pytest.mark.parametrize(("model", "steps", "test_error"), [("mlp", 200, 0.1), ("cnn", 40, 0.4)])
def test_training_learns_the_digits(model, steps, test_error):
    workload = load("digits", model=model)
    rates, evaluated_steps = jnp.full(steps, 3e-3), (0, steps // 2, steps)
    run = jax.jit(
        lambda data, keys: train(
            workload, data, optax.adam, rates, keys, batch_size=64, evaluate_at=evaluated_steps
        )
    )(workload.data, run_keys(jax.random.key(6)))
    losses, errors = run.metrics["train_loss"], run.metrics["test_error"]
    assert losses[0] > losses[1] > losses[2]
    assert errors[0] > 0.5
    assert errors[2] < test_error  # chance is 0.9
