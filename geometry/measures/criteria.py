"""Information criteria: `geometry.information` with the Gauss–Newton matrix F of the training loss, in full.

For small networks: F is a matrix over all parameters. C are the second moments of the examples' gradients, cᵢ
and fᵢ the diagonals, λ a damping of 0.001 in units of F.
"""

from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from geometry.calibration import negative_log_likelihood
from geometry.curvature import curvature_matrix, gauss_newton_product
from geometry.information import (
    per_sample_gradients,
    takeuchi_diagonal,
    takeuchi_exact,
    takeuchi_trace_ratio,
)
from geometry.measures.measure import Family, Measure, Network

DAMPING = 1e-3
TAKEUCHI = "K. Takeuchi (1976), as in arXiv:2602.23219"


class Information(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      curvature: F over the raveled parameters.
      gradients: of every example, raveled.
    """

    curvature: Float[Array, "d d"]
    gradients: Float[Array, "examples d"]


def network_information(network: Network) -> Information:
    """The quantities of the family."""
    weights, unravel = ravel_pytree(network.params)

    def logits(flat):
        return network.outputs(unravel(flat), network.inputs)

    def loss(flat, sample):
        image, label = sample
        return negative_log_likelihood(network.outputs(unravel(flat), image[None]), label[None])

    fisher = gauss_newton_product(logits, network.loss_of_logits, weights)
    gradients = per_sample_gradients(loss, weights, (network.inputs, network.labels))
    return Information(curvature_matrix(fisher, weights), gradients)


CRITERIA = Family(
    network_information,
    MappingProxyType(
        {
            "takeuchi_exact": Measure(
                lambda information: takeuchi_exact(*information, DAMPING),
                "Tr((F + λI)⁻¹ C)",
                TAKEUCHI,
            ),
            "takeuchi_diagonal": Measure(
                lambda information: takeuchi_diagonal(
                    jnp.diagonal(information.curvature), information.gradients, DAMPING
                ),
                "Σ cᵢ / (fᵢ + λ)",
                TAKEUCHI,
            ),
            "takeuchi_trace_ratio": Measure(
                lambda information: takeuchi_trace_ratio(
                    jnp.trace(information.curvature), information.gradients, DAMPING
                ),
                "Tr C / (Tr F + λ)",
                TAKEUCHI,
            ),
        }
    ),
)
