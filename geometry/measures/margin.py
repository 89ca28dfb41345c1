"""Margins of the training examples, γᵢ = f_y - max over the other classes of f, in units of the logits.

γ is the margin that a tenth of the examples fall short of. Where it is not positive, what divides by it is
infinite. (The published code of arXiv:2010.11924 takes |γ| instead, which makes misfits look safe.)
"""

from types import MappingProxyType

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from geometry.measures.measure import Family, Measure, Network

LOW = 0.1  # the quantile that stands for the margin of a network


def margins(
    logits: Float[Array, "examples classes"], labels: Int[Array, "examples"]
) -> Float[Array, "examples"]:
    """f_y - max_{j≠y} f_j of every example: negative where it is misclassified.

    >>> margins(jnp.array([[2.0, 5.0, 1.0], [2.0, 5.0, 1.0]]), jnp.array([1, 0]))
    Array([ 3., -3.], dtype=float32)
    """
    hit = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(hit, logits, 0), axis=1) - jnp.max(jnp.where(hit, -jnp.inf, logits), axis=1)


def low_margin(network: Network) -> Float[Array, ""]:
    """γ, the tenth percentile of the margins."""
    return jnp.quantile(network_margins(network), LOW)


def network_margins(network: Network) -> Float[Array, "examples"]:
    """The margin of every training example."""
    return margins(network.outputs(network.params, network.inputs), network.labels)


def log_square_margin(margin: Float[Array, ""]) -> Float[Array, ""]:
    """ln γ², and -∞ where γ is not positive."""
    return jnp.where(margin > 0, 2 * jnp.log(jnp.where(margin > 0, margin, 1)), -jnp.inf)


MARGINS = Family(
    network_margins,
    MappingProxyType(
        {
            "inverse_square_margin": Measure(
                lambda margins: jnp.exp(-log_square_margin(jnp.quantile(margins, LOW))),
                "1/γ²",
                "arXiv:1912.02178",
            ),
            "margin_10": Measure(
                lambda margins: jnp.quantile(margins, LOW), "γ", "arXiv:1810.00113", sign=-1
            ),
            "margin_50": Measure(jnp.median, "the median of γᵢ", "arXiv:1810.00113", sign=-1),
        }
    ),
)
