"""What is measured of a network: its losses, what the information criterion predicts, and simple rivals."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

import geometry
from workloads import Workload
from workloads.images import MLP, ImageData, classification

NUM_CLASSES = 10
NUM_PIXELS = 16
CHEAP = ("takeuchi_diagonal", "takeuchi_trace_ratio")  # curvature: the Fisher matrix with one sampled label
DENSE = ("takeuchi_exact", "takeuchi_blocks")  # curvature: the Gauss–Newton matrix, in full


class Split(NamedTuple):
    """A run's own images and labels, and the noise that labels are sampled with."""

    train_images: Float[Array, "train height width channels"]
    train_labels: Int[Array, "train"]
    validation_images: Float[Array, "validation height width channels"]
    validation_labels: Int[Array, "validation"]
    test_images: Float[Array, "test height width channels"]
    test_labels: Int[Array, "test"]
    label_noise: Float[Array, "train classes"]


def coarse(
    images: Float[Array | np.ndarray, "*counts height width channels"],
) -> Float[Array | np.ndarray, "*counts rows columns channels"]:
    """Images at half their resolution, the mean of 2×2 pixels: for networks small enough for all that is
    measured."""
    *counts, height, width, channels = images.shape
    return images.reshape(*counts, height // 2, 2, width // 2, 2, channels).mean(axis=(-4, -2))


def draw_split(
    key: PRNGKeyArray, data: ImageData, train_size: Int[Array, ""], largest: int, validation_size: int
) -> Split:
    """Random examples to train on, and others to validate with; one key's training sets contain one another.

    The `train_size` examples are repeated to fill `largest` places, of which it is a divisor: every mean over
    the places is the mean over the examples, and one compiled program serves all sizes.
    """
    order_key, noise_key = jax.random.split(key)
    order = jax.random.permutation(order_key, len(data.train_labels))
    places = jnp.arange(largest) % train_size
    train, validation = order[places], order[-validation_size:]
    return Split(
        data.train_images[train],
        data.train_labels[train],
        data.train_images[validation],
        data.train_labels[validation],
        data.test_images,
        data.test_labels,
        jax.random.gumbel(noise_key, (largest, NUM_CLASSES))[places],
    )


def num_parameters(width: int) -> int:
    return (NUM_PIXELS + 1) * width + (width + 1) * NUM_CLASSES


def network(model: MLP, split: Split, damping: float) -> Workload:
    """The training of `model` on a run's own examples, with what is measured at every rung.

    Metrics: loss and error on all three parts; the criteria of CHEAP; the traces of C and of the Fisher
    matrix, and the norms of gradient and parameters.
    """
    workload = classification(
        ImageData(split.train_images, split.train_labels, split.test_images, split.test_labels), model
    )

    def evaluate(params, split):
        validation = split._replace(test_images=split.validation_images, test_labels=split.validation_labels)
        validated = workload.evaluate(params, validation)
        return {
            **workload.evaluate(params, split),
            "validation_loss": validated["test_loss"],
            "validation_error": validated["test_error"],
            **_cheap(model, params, split, damping),
        }

    return workload._replace(data=split, evaluate=evaluate)


def dense_criteria(model: MLP, params: PyTree, split: Split, damping: float) -> dict[str, Float[Array, ""]]:
    """The criteria of DENSE."""
    product = geometry.gauss_newton_product(
        lambda p: model.apply(p, split.train_images),
        lambda logits: jnp.mean(_cross_entropies(logits, split.train_labels)),
        params,
    )
    gradients = _gradients(model, params, split.train_images, split.train_labels)
    return {
        "takeuchi_exact": geometry.takeuchi_exact(
            geometry.curvature_matrix(product, params), gradients, damping
        ),
        "takeuchi_blocks": geometry.takeuchi_blocks(
            geometry.curvature_blocks(product, params), gradients, damping
        ),
    }


def _cheap(model: MLP, params: PyTree, split: Split, damping: float) -> dict[str, Float[Array, ""]]:
    logits = model.apply(params, split.train_images)
    sampled = jnp.argmax(logits + split.label_noise, axis=-1)  # a draw from the softmax
    fisher = geometry.second_moments(_gradients(model, params, split.train_images, sampled))
    gradients = _gradients(model, params, split.train_images, split.train_labels)
    trace_h = optax.tree.sum(fisher)
    return {
        "takeuchi_diagonal": geometry.takeuchi_diagonal(fisher, gradients, damping),
        "takeuchi_trace_ratio": geometry.takeuchi_trace_ratio(trace_h, gradients, damping),
        "trace_c": optax.tree.sum(geometry.second_moments(gradients)),
        "trace_h": trace_h,
        "gradient_norm": optax.tree.norm(jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)),
        "parameter_norm": optax.tree.norm(params),
    }


def _gradients(model: MLP, params: PyTree, images: Array, labels: Array) -> PyTree:
    def loss(params, sample):
        image, label = sample
        return jnp.sum(_cross_entropies(model.apply(params, image[None]), label[None]))

    return geometry.per_sample_gradients(loss, params, (images, labels))


def _cross_entropies(logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]) -> Array:
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, logits.shape[-1]))
