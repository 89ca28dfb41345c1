"""The gradient of the training loss and its noise, from the gradients gʲ of eight equal batches.

The training examples are cut into batches in their order; those that fill no batch are left out.
"""

from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from geometry.calibration import negative_log_likelihood
from geometry.measures.measure import Family, Measure, Network
from geometry.moments import noise_scale
from geometry.norms import EUCLIDEAN, SIGN, SPECTRAL
from geometry.precision import full_product, unit_peak, widened

BATCHES = 8


class Gradients(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      batches: the gradient of each batch, stacked on each leaf's first axis.
      examples: in all batches together.
    """

    batches: PyTree
    examples: int


def network_gradients(network: Network) -> Gradients:
    """The quantities of the family.

    Raises ValueError when there are fewer than eight examples.
    """
    size = len(network.labels) // BATCHES
    if not size:
        raise ValueError(f"labels: at least {BATCHES} examples are needed, got {len(network.labels)}")

    def gradient(inputs, labels):
        return jax.grad(lambda params: negative_log_likelihood(network.outputs(params, inputs), labels))(
            network.params
        )

    batches = (
        x[: size * BATCHES].reshape(BATCHES, size, *x.shape[1:]) for x in (network.inputs, network.labels)
    )
    return Gradients(jax.lax.map(lambda batch: gradient(*batch), tuple(batches)), size * BATCHES)


def mean_cosine(gradients: PyTree) -> Float[Array, ""]:
    """The mean of cos(gʲ, gᵏ) over j ≠ k, of gradients stacked on each leaf's first axis.

    1 where all batches ask for the same step, about 0 where there is nothing but noise. A zero gradient is at
    right angles to all.

    >>> mean_cosine(jnp.array([[3.0, 0.0], [0.0, 2.0], [5.0, 0.0]]))
    Array(0.33333334, dtype=float32)
    """
    rows = widened(jax.vmap(lambda gradient: ravel_pytree(gradient)[0])(gradients))
    scaled, _ = unit_peak(rows, axis=1)
    norms = jnp.linalg.norm(scaled, axis=1, keepdims=True)
    units = scaled / jnp.where(norms > 0, norms, 1)
    cosines = full_product(units, units.T)
    pairs = len(rows) * (len(rows) - 1)
    return (jnp.sum(cosines) - jnp.trace(cosines)) / pairs


def _norm(gradients: Gradients) -> Float[Array, ""]:
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), gradients.batches)
    return EUCLIDEAN.norm(ravel_pytree(mean)[0])


GRADIENTS = Family(
    network_gradients,
    MappingProxyType(
        {
            "gradient_norm": Measure(_norm, "‖mean gʲ‖", "arXiv:2202.03599"),
            "euclidean_noise_scale": Measure(
                lambda gradients: noise_scale(*gradients, EUCLIDEAN).value, "tr C / ‖g‖²", "arXiv:1812.06162"
            ),
            "sign_noise_scale": Measure(
                lambda gradients: noise_scale(*gradients, SIGN).value, "‖σ‖₁² / ‖g‖₁²", "arXiv:2602.03001"
            ),
            "spectral_noise_scale": Measure(
                lambda gradients: noise_scale(*gradients, SPECTRAL).value,
                "(tr C_row^½)² / ‖g‖_*²",
                "arXiv:2602.03001",
            ),
            "gradient_cosine": Measure(
                lambda gradients: mean_cosine(gradients.batches),
                "the mean of cos(gʲ, gᵏ), j ≠ k",
                "arXiv:1901.09491",
                sign=-1,
            ),
        }
    ),
)
