"""Image classification in several environments at once: every batch holds as many examples of each."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from workloads.datasets.coloured_digits import ColouredDigits
from workloads.images import ImageData, classification
from workloads.invariance import Labels, Logits, risks
from workloads.workload import Workload, epoch_indices

Objective = Callable[[Logits, Labels], Float[Array, ""]]


def mean_risk(logits: Logits, labels: Labels) -> Float[Array, ""]:
    """The mean cross-entropy over all environments: empirical risk minimisation."""
    return jnp.mean(risks(logits, labels))


def over_environments(data: ColouredDigits, model: nn.Module, objective: Objective = mean_risk) -> Workload:
    """Train `model` on what `objective` makes of its logits in all environments.

    `objective` is a loss of `workloads.invariance` with its weights filled in, such as
    `functools.partial(irm, weight=100.0)`. The contract is that of every workload: batch size and epochs
    count the examples of one environment, a batch has the environments as leading axis, and the metrics are
    those of `classification`, over all of them together.
    """
    pooled = classification(_pooled(data), model)

    def loss(params, batch, key):
        images, labels = batch
        return objective(jax.vmap(model.apply, in_axes=(None, 0))(params, images), labels)

    return pooled._replace(
        data=jax.tree.map(jnp.asarray, data),
        indices=lambda key, batch_size, num_steps: epoch_indices(
            key, data.train_labels.shape[1], batch_size, num_steps
        ),
        batch=lambda data, indices: (data.train_images[:, indices], data.train_labels[:, indices]),
        loss=loss,
        evaluate=lambda params, data: pooled.evaluate(params, _pooled(data)),
    )


def _pooled(data: ColouredDigits) -> ImageData:
    """The examples of all environments, one after the other."""
    return ImageData(*(x.reshape(-1, *x.shape[2:]) for x in data[:2]), *data[2:])
