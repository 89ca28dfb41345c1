"""Addition modulo p: a network that fits some of the pairs may generalise to the others long after.

Source: Power et al. (2022), arXiv:2201.02177.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from workloads.losses import stablemax
from workloads.workload import Workload, epoch_indices

LARGEST_MODULUS = 1_000  # of a million pairs, which are evaluated at once
LARGEST_WIDTH = 10_000


class Pairs(NamedTuple):
    """Pairs of numbers below p, and their sums modulo p as class labels."""

    train_pairs: Int[Array, "train 2"]
    train_labels: Int[Array, "train"]
    test_pairs: Int[Array, "test 2"]
    test_labels: Int[Array, "test"]


class PairMLP(nn.Module):
    """Both numbers by one embedding, a dense layer whose outputs are squared, then the `head`."""

    modulus: int
    width: int

    @nn.compact
    def __call__(self, pairs: Int[Array, "batch 2"]) -> Float[Array, "batch modulus"]:
        numbers = jax.nn.one_hot(pairs, self.modulus, dtype=jnp.float32)
        embedded = nn.Dense(self.width // 2, use_bias=False, name="embed")(numbers)
        hidden = jnp.square(nn.Dense(self.width)(embedded.reshape(len(pairs), -1)))
        return nn.Dense(self.modulus, name="head")(hidden)


def softmax(logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]) -> Float[Array, "batch"]:
    """The cross-entropy -ln p of the labels, in the logits' dtype."""
    # one-hot: the gradient of picking the label's logit by index is a scatter, slow on a CPU
    return optax.softmax_cross_entropy(logits, jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype))


LOSSES: Mapping[str, Callable[[Array, Array], Array]] = MappingProxyType(
    {"softmax": softmax, "stablemax": stablemax}
)
PRECISIONS = ("float32", "float64")


def modular_addition(
    *,
    modulus: int = 47,
    train_share: float = 0.4,
    width: int = 64,
    loss: str = "softmax",
    loss_precision: str = "float32",
    split_seed: int = 0,
) -> Workload:
    """The workload: a + b mod p of all p² ordered pairs, by `PairMLP`.

    A batch of all training pairs is the full gradient. Metrics: the mean cross-entropy of softmax
    "train_loss" and "test_loss", whatever is descended on, and the fraction misclassified "train_error" and
    "test_error".

    Args:
      modulus: p.
      train_share: of the pairs, for training.
      width: of the hidden layer, twice that of the embedding.
      loss: what is descended on, one of `LOSSES`.
      loss_precision: what it and the gradients of the logits are computed in, "float32" or "float64", for
        which `jax.enable_x64` is needed; the network is of float32.
      split_seed: which pairs are for training.

    Raises:
      ValueError: `modulus` is not in [2, 1,000], `train_share` leaves no pair for training or testing,
        `width` is not in [2, 10,000], there is no such loss or precision, or `split_seed` is not a uint32.
    """
    for name, value, low, high in (
        ("modulus", modulus, 2, LARGEST_MODULUS),
        ("width", width, 2, LARGEST_WIDTH),
        ("split_seed", split_seed, 0, 2**32 - 1),
    ):
        if not low <= value <= high:
            raise ValueError(f"modular_addition: {name} must be in [{low}, {high}], got {value}")
    if not 1 <= train_share * modulus**2 < modulus**2:
        raise ValueError(f"modular_addition: train_share must leave pairs for both, got {train_share}")
    for name, value, allowed in (("loss", loss, LOSSES), ("loss_precision", loss_precision, PRECISIONS)):
        if value not in allowed:
            raise ValueError(f"modular_addition: {name} must be one of {[*allowed]}, got {value!r}")
    model, data = PairMLP(modulus, width), _split(modulus, train_share, split_seed)

    def batch_loss(params, batch, key):
        if loss_precision == "float64" and not jax.config.jax_enable_x64:
            raise ValueError("loss_precision float64 needs jax.enable_x64(True)")
        pairs, labels = batch
        logits = model.apply(params, pairs).astype(loss_precision)
        return jnp.mean(LOSSES[loss](logits, labels))

    def evaluate(params, data):
        metrics = {}
        for split, (pairs, labels) in (("train", data[:2]), ("test", data[2:])):
            logits = model.apply(params, pairs)
            metrics[f"{split}_loss"] = jnp.mean(softmax(logits, labels))
            metrics[f"{split}_error"] = jnp.mean(jnp.argmax(logits, axis=-1) != labels, dtype=jnp.float32)
        return metrics

    num_train = len(data.train_labels)
    return Workload(
        data=data,
        init=lambda key: model.init(key, jnp.zeros((1, 2), jnp.int32)),
        indices=lambda key, batch_size, num_steps: epoch_indices(key, num_train, batch_size, num_steps),
        batch=lambda data, indices: (data.train_pairs[indices], data.train_labels[indices]),
        loss=batch_loss,
        evaluate=evaluate,
    )


def _split(modulus: int, train_share: float, seed: int) -> Pairs:
    places = np.random.default_rng(seed).permutation(modulus**2).astype(np.int32)
    pairs = np.stack(np.divmod(places, modulus), axis=1)
    labels = pairs.sum(axis=1) % modulus
    count = int(train_share * modulus**2)
    return Pairs(*map(jnp.asarray, (pairs[:count], labels[:count], pairs[count:], labels[count:])))
