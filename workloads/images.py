"""Image classification: Flax models, and the workload that trains one on arrays of images and labels."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from workloads.convolution import pooled_convolution
from workloads.datasets.digits import load_digits
from workloads.workload import Workload, epoch_indices


class ImageData(NamedTuple):
    """Images with values in [0, 1], and their class labels."""

    train_images: Float[Array, "train height width channels"]
    train_labels: Int[Array, "train"]
    test_images: Float[Array, "test height width channels"]
    test_labels: Int[Array, "test"]


class MLP(nn.Module):
    """Dense layers with ReLU over the flattened image; the last one is the `head`."""

    num_classes: int
    hidden: Sequence[int] = (128,)

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        x = images.reshape(images.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes, name="head")(x)


class CNN(nn.Module):
    """3×3 convolutions with 2×2 max-pooling and ReLU, dense layers with ReLU, then the `head`."""

    num_classes: int
    features: Sequence[int] = (16, 32)
    hidden: Sequence[int] = ()

    @nn.compact
    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        x = images
        for features in self.features:
            x = nn.relu(nn.Conv(features, (3, 3), conv_general_dilated=pooled_convolution)(x))
        x = x.reshape(x.shape[0], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.num_classes, name="head")(x)


MODELS = {"mlp": MLP, "cnn": CNN}


def classification(data: ImageData, model: nn.Module) -> Workload:
    """Train `model` on the mean cross-entropy, reshuffled each epoch.

    Metrics: the mean cross-entropy "train_loss" and "test_loss", and the fraction misclassified
    "train_error" and "test_error".
    """
    num_train, *image_shape = data.train_images.shape

    def cross_entropy(logits, labels):
        # one-hot: the gradient of picking the label's logit by index is a scatter, slow on a CPU
        return jnp.mean(optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, logits.shape[-1])))

    def loss(params, batch, key):
        images, labels = batch
        return cross_entropy(model.apply(params, images), labels)

    def evaluate(params, data):
        metrics = {}
        splits = {
            "train": (data.train_images, data.train_labels),
            "test": (data.test_images, data.test_labels),
        }
        for split, (images, labels) in splits.items():
            logits = model.apply(params, images)
            metrics[f"{split}_loss"] = cross_entropy(logits, labels)
            metrics[f"{split}_error"] = jnp.mean(jnp.argmax(logits, axis=-1) != labels)
        return metrics

    return Workload(
        data=data,
        init=lambda key: model.init(key, jnp.zeros((1, *image_shape))),
        indices=lambda key, batch_size, num_steps: epoch_indices(key, num_train, batch_size, num_steps),
        batch=lambda data, indices: (data.train_images[indices], data.train_labels[indices]),
        loss=loss,
        evaluate=evaluate,
    )


def digits(*, model: str = "mlp") -> Workload:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels, four fifths of them for training.

    Args:
      model: "mlp" (64-128-10) or "cnn" (3×3×16, 3×3×32, head).

    Raises:
      ValueError: no such model.
    """
    if model not in MODELS:
        raise ValueError(f"digits: model must be one of {sorted(MODELS)}, got {model!r}")
    data = ImageData(*(jnp.asarray(array) for array in load_digits()))
    return classification(data, MODELS[model](num_classes=10))
