"""The path norm of a ReLU network, alone and over the margin γ of `geometry.measures.margin`."""

from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from geometry.measures.margin import log_square_margin, low_margin
from geometry.measures.measure import Family, Measure, Network

NEYSHABUR = "arXiv:1503.00036, as in arXiv:1912.02178"


class Paths(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      path_norm: the sum over all paths.
      log_square_margin: ln γ².
    """

    path_norm: Float[Array, ""]
    log_square_margin: Float[Array, ""]


def path_norm(
    outputs: Callable[[PyTree, Float[Array, "..."]], Float[Array, "1 classes"]],
    params: PyTree,
    inputs: Float[Array, "1 ..."],
) -> Float[Array, ""]:
    """Σ Π w² over the paths from an input or a bias to an output: what the squared weights make of ones.

    Unchanged where single units are rescaled, as the network itself is: incoming weights and bias by a,
    outgoing weights by 1/a. The inputs only tell the shape. Source: arXiv:1503.00036.
    """
    squared = jax.tree.map(jnp.square, params)
    return jnp.sum(outputs(squared, jnp.ones_like(inputs)))


def network_paths(network: Network) -> Paths:
    """The quantities of the family."""
    norm = path_norm(network.outputs, network.params, network.inputs[:1])
    return Paths(norm, log_square_margin(low_margin(network)))


PATHS = Family(
    network_paths,
    MappingProxyType(
        {
            "path_norm": Measure(lambda paths: paths.path_norm, "Σ over paths Π w²", NEYSHABUR),
            "path_norm_over_margin": Measure(
                lambda paths: paths.path_norm * jnp.exp(-paths.log_square_margin),
                "Σ over paths Π w² / γ²",
                NEYSHABUR,
            ),
        }
    ),
)
