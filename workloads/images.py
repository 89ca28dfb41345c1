"""Image classification: Flax models, and the workload that trains one on arrays of images and labels."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from workloads.convolution import pooled_convolution
from workloads.datasets.cifar10 import load_cifar10
from workloads.datasets.digits import load_digits
from workloads.datasets.idx import load_idx
from workloads.datasets.labels import NUM_CLASSES
from workloads.evaluation import mean_over_examples
from workloads.workload import Workload, epoch_indices

EVALUATED_VALUES = 2**18  # pixel values that are evaluated at once, which bounds the memory it takes


class ImageData(NamedTuple):
    """Images with values in [0, 1], or bytes that stand for 255ths, and their class labels."""

    train_images: Float[Array, "train height width channels"] | UInt8[Array, "train height width channels"]
    train_labels: Int[Array, "train"]
    test_images: Float[Array, "test height width channels"] | UInt8[Array, "test height width channels"]
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


MLP_128 = MLP(NUM_CLASSES)
SMALL_CNN = CNN(NUM_CLASSES)
CIFAR_CNN = CNN(NUM_CLASSES, features=(32, 64), hidden=(256,))


def classification(data: ImageData, model: nn.Module) -> Workload:
    """Train `model` on the mean cross-entropy, reshuffled each epoch.

    Metrics: the mean cross-entropy "train_loss" and "test_loss", and the fraction misclassified
    "train_error" and "test_error", over all images.
    """
    num_train, *image_shape = data.train_images.shape

    def loss(params, batch, key):
        images, labels = batch
        return jnp.mean(_cross_entropies(model.apply(params, images), labels))

    def evaluate(params, data):
        metrics = {}
        splits = {
            "train": (data.train_images, data.train_labels),
            "test": (data.test_images, data.test_labels),
        }
        for split, (images, labels) in splits.items():

            def measure(index, images=images, labels=labels):
                logits = model.apply(params, _unit_range(images[index]))
                errors = jnp.argmax(logits, axis=-1) != labels[index]
                return _cross_entropies(logits, labels[index]), errors

            block_size = max(1, EVALUATED_VALUES // math.prod(image_shape))
            mean_loss, error = mean_over_examples(measure, len(images), block_size)
            metrics |= {f"{split}_loss": mean_loss, f"{split}_error": error}
        return metrics

    return Workload(
        data=data,
        init=lambda key: model.init(key, jnp.zeros((1, *image_shape))),
        indices=lambda key, batch_size, num_steps: epoch_indices(key, num_train, batch_size, num_steps),
        batch=lambda data, indices: (_unit_range(data.train_images[indices]), data.train_labels[indices]),
        loss=loss,
        evaluate=evaluate,
    )


def _unit_range(images: Array) -> Float[Array, "batch height width channels"]:
    return images / 255 if images.dtype == jnp.uint8 else images


def _cross_entropies(
    logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]
) -> Float[Array, "batch"]:
    """−log softmax at each label, in float32 whatever the model computes in."""
    # one-hot: the gradient of picking the label's logit by index is a scatter, slow on a CPU
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), one_hot)


def digits(*, model: str = "mlp", width: int | None = None) -> Workload:
    """scikit-learn's 1,797 handwritten digits of 8×8 pixels, four fifths of them for training.

    Args:
      model: "mlp" (64-128-10) or "cnn" (3×3×16, 3×3×32, head).
      width: hidden units of the MLP, where not 128.

    Raises:
      ValueError: no such model, or a width below 1 or of the CNN.
    """
    chosen = _choose("digits", model, {"mlp": MLP_128, "cnn": SMALL_CNN})
    if width is not None:
        if model != "mlp" or width < 1:
            raise ValueError(f"digits: width must be at least 1, and of the mlp, got {width} of the {model}")
        chosen = MLP(NUM_CLASSES, hidden=(width,))
    return classification(_on_device(load_digits()), chosen)


def mnist(*, model: str = "mlp", folder: str | None = None, files: str = "published") -> Workload:
    """MNIST: 60,000 handwritten digits of 28×28 pixels and 10,000 for testing, from local files.

    Args:
      model: "mlp" (784-128-10) or "cnn" (CIFAR-10's, here of 824,458 parameters).
      folder, files: where the files are, and whether they must be the published ones; see `load_idx`.

    Raises:
      ValueError: no such model, or the files are not as described in `load_idx`.
    """
    return _idx_images("mnist", model, folder, files)


def fashion_mnist(*, model: str = "mlp", folder: str | None = None, files: str = "published") -> Workload:
    """Fashion-MNIST: 60,000 images of clothing, 28×28 pixels, and 10,000 for testing; all else as `mnist`."""
    return _idx_images("fashion_mnist", model, folder, files)


def cifar10(*, folder: str | None = None, files: str = "published") -> Workload:
    """CIFAR-10 without augmentation: 50,000 images of 32×32 pixels in three colours and 10,000 for testing.

    The CNN (3×3×32, 3×3×64, Dense 256, head; 1,070,794 parameters) is that of "What do near-optimal learning
    rate schedules look like?" (arXiv:2603.10301).

    Args:
      folder, files: where the files are, and whether they must be the published ones; see `load_cifar10`.

    Raises:
      ValueError: the files are not as described in `load_cifar10`.
    """
    return classification(_on_device(load_cifar10(folder=folder, files=files)), CIFAR_CNN)


def _idx_images(name: str, model: str, folder: str | None, files: str) -> Workload:
    chosen = _choose(name, model, {"mlp": MLP_128, "cnn": CIFAR_CNN})
    return classification(_on_device(load_idx(name, folder=folder, files=files)), chosen)


def _choose(workload: str, model: str, models: Mapping[str, nn.Module]) -> nn.Module:
    if model not in models:
        raise ValueError(f"{workload}: model must be one of {sorted(models)}, got {model!r}")
    return models[model]


def _on_device(arrays: Sequence[np.ndarray]) -> ImageData:
    return ImageData(*map(jnp.asarray, arrays))
