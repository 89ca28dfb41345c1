"""The digits with some labels flipped, a network that learns them, and how flat and how sure it ends."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree, ScalarLike

import geometry
from workloads import Workload
from workloads.images import MLP, ImageData, classification

NUM_CLASSES = 10
TRACE_PROBES = 16
CURVATURE_PRODUCTS = 40  # of the search for the largest eigenvalue
LARGEST, TRACE = "largest_eigenvalue", "trace"
ECE, CHANCE_ECE = "calibration_error", "chance_calibration_error"

Images = Float[Array, "images height width channels"]
Labels = Int[Array, "images"]


class Split(NamedTuple):
    """A run's own images: those that it trains on, with labels some of which are flipped, and others."""

    train_images: Images
    train_labels: Labels
    flipped: Bool[Array, "images"]
    validation_images: Images
    validation_labels: Labels
    test_images: Images
    test_labels: Labels


def draw_split(
    key: PRNGKeyArray, data: ImageData, share: ScalarLike, train_size: int, validation_size: int
) -> Split:
    """Random images to train on, to choose by and to test with; of the first, a share gets another label.

    With one key, what is flipped at a smaller share is flipped at a larger one too, to the same label.
    """
    order_key, chance_key, label_key = jax.random.split(key, 3)
    images = jnp.concatenate([data.train_images, data.test_images])
    labels = jnp.concatenate([data.train_labels, data.test_labels])
    order = jax.random.permutation(order_key, len(labels))
    train, validation, test = jnp.split(order, [train_size, train_size + validation_size])
    flipped = jax.random.uniform(chance_key, (train_size,)) < share
    others = (labels[train] + jax.random.randint(label_key, (train_size,), 1, NUM_CLASSES)) % NUM_CLASSES
    return Split(
        images[train],
        jnp.where(flipped, others, labels[train]),
        flipped,
        images[validation],
        labels[validation],
        images[test],
        labels[test],
    )


def network(width: int, split: Split) -> Workload:
    """The training of a hidden layer of that width on a run's own images.

    Metrics: loss and error on the images trained on, with their labels, and of the tested ones; the error on
    the validation images; the share of flipped labels that it has learnt; and of the tested images the
    calibration error and what chance makes of it.
    """
    model = MLP(NUM_CLASSES, hidden=(width,))
    workload = classification(
        ImageData(split.train_images, split.train_labels, split.test_images, split.test_labels), model
    )

    def evaluate(params, split):
        def wrong(images, labels):
            return jnp.argmax(model.apply(params, images), axis=1) != labels

        memorised = split.flipped & ~wrong(split.train_images, split.train_labels)
        probabilities = jax.nn.softmax(model.apply(params, split.test_images))
        confidences, correct = geometry.top_class(probabilities, split.test_labels)
        return {
            **workload.evaluate(params, split),
            "validation_error": jnp.mean(wrong(split.validation_images, split.validation_labels)),
            "memorised": jnp.sum(memorised) / jnp.maximum(jnp.sum(split.flipped), 1),
            ECE: geometry.expected_calibration_error(confidences, correct),
            CHANCE_ECE: geometry.chance_calibration_error(confidences, jax.random.key(0), draws=100),
        }

    return workload._replace(data=split, evaluate=evaluate)


def curvature(
    workload: Workload, params: PyTree, split: Split, key: PRNGKeyArray
) -> dict[str, Float[Array, ""]]:
    """The largest eigenvalue and the trace of the Hessian of the mean loss on all images trained on."""
    start_key, probe_key = jax.random.split(key)
    everything = workload.batch(split, jnp.arange(len(split.train_labels)))
    product = geometry.hessian_product(lambda p: workload.loss(p, everything, key), params)
    return {
        LARGEST: geometry.top_eigenvalue(product, params, start_key, max_products=CURVATURE_PRODUCTS),
        TRACE: geometry.hutchinson_trace(product, params, probe_key, TRACE_PROBES).mean,
    }
