"""Norms of a network's kernels: their products and sums, alone and over the margin.

W_l are the d kernels, seen as matrices of fan-in × fan-out, ‖·‖₂ the spectral and ‖·‖_F the Frobenius norm, γ
the margin of `geometry.measures.margin`. A homogeneous network is rescaled to layers of equal norm without
changing what it computes; the sum is that of the rescaled one, d (Π‖W_l‖²)^(1/d). Both stay the same where
whole layers are rescaled against each other, and change where single units are.
"""

import math
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from geometry.measures.margin import log_square_margin, low_margin
from geometry.measures.measure import Family, Measure, Network
from geometry.norms import EUCLIDEAN, SPECTRAL

JIANG = "arXiv:1912.02178"


class KernelNorms(NamedTuple):
    """The norm of every kernel.

    Attributes:
      spectral: ‖W_l‖₂.
      frobenius: ‖W_l‖_F.
    """

    spectral: Float[Array, "layers"]
    frobenius: Float[Array, "layers"]


class Norms(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      kernels: the norms of the kernels.
      log_square_margin: ln γ².
      parameters: how many there are, biases included.
    """

    kernels: KernelNorms
    log_square_margin: Float[Array, ""]
    parameters: Float[Array, ""]

    def log_sum(self, log_product: Float[Array, ""]) -> Float[Array, ""]:
        """ln (d (Π)^(1/d)), of the network that is rescaled to layers of equal norm."""
        layers = len(self.kernels.spectral)
        return math.log(layers) + log_product / layers


def kernel_norms(params: PyTree) -> KernelNorms:
    """Of the leaves with two axes or more, whose last axis is the fan-out, as in Flax; biases do not count.

    >>> kernel_norms({"bias": jnp.ones(2), "kernel": jnp.diag(jnp.array([3.0, 4.0]))})
    KernelNorms(spectral=Array([4.], dtype=float32), frobenius=Array([5.], dtype=float32))
    """
    leaves = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    kernels = [leaf.reshape(-1, leaf.shape[-1]) for leaf in leaves]
    spectral, frobenius = ([norm(kernel) for kernel in kernels] for norm in (SPECTRAL.norm, EUCLIDEAN.norm))
    return KernelNorms(jnp.stack(spectral), jnp.stack(frobenius))


def log_product(norms: Float[Array, "layers"]) -> Float[Array, ""]:
    """ln Π‖W_l‖²."""
    return 2 * jnp.sum(jnp.log(norms))


def network_norms(network: Network) -> Norms:
    """The quantities of the family."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(network.params))
    return Norms(
        kernel_norms(network.params), log_square_margin(low_margin(network)), jnp.asarray(float(parameters))
    )


def _products_and_sums(
    name: str, symbol: str, chosen: Callable[[KernelNorms], Float[Array, "layers"]]
) -> dict[str, Measure]:
    """The four measures of one norm."""

    def plain(norms: Norms) -> Float[Array, ""]:
        return log_product(chosen(norms.kernels))

    def over_margin(norms: Norms) -> Float[Array, ""]:
        return plain(norms) - norms.log_square_margin

    squares = f"Π‖W_l‖{symbol}²"
    return {
        f"log_product_{name}": Measure(plain, f"ln {squares}", JIANG),
        f"log_product_{name}_over_margin": Measure(over_margin, f"ln ({squares}/γ²)", JIANG),
        f"log_sum_{name}": Measure(
            lambda norms: norms.log_sum(plain(norms)), f"ln (d ({squares})^(1/d))", JIANG
        ),
        f"log_sum_{name}_over_margin": Measure(
            lambda norms: norms.log_sum(over_margin(norms)), f"ln (d ({squares}/γ²)^(1/d))", JIANG
        ),
    }


def frobenius_over_spectral(
    frobenius: Float[Array, "layers"], spectral: Float[Array, "layers"]
) -> Float[Array, ""]:
    """Σ‖·‖_F² / ‖W_l‖₂²."""
    return jnp.sum((frobenius / spectral) ** 2)


def log_spectral_bound(norms: Norms, frobenius: Float[Array, "layers"]) -> Float[Array, ""]:
    """ln (Π‖W_l‖₂² Σ‖·‖_F²/‖W_l‖₂² / γ²), the main term of a bound by spectral norms."""
    spectral = norms.kernels.spectral
    log_factor = jnp.log(frobenius_over_spectral(frobenius, spectral))
    return log_product(spectral) + log_factor - norms.log_square_margin


NORMS = Family(
    network_norms,
    MappingProxyType(
        {
            "parameters": Measure(lambda norms: norms.parameters, "their number", JIANG),
            **_products_and_sums("spectral", "₂", lambda kernels: kernels.spectral),
            **_products_and_sums("frobenius", "_F", lambda kernels: kernels.frobenius),
            "parameter_norm": Measure(lambda norms: jnp.sum(norms.kernels.frobenius**2), "Σ‖W_l‖_F²", JIANG),
            "frobenius_over_spectral": Measure(
                lambda norms: frobenius_over_spectral(norms.kernels.frobenius, norms.kernels.spectral),
                "Σ‖W_l‖_F²/‖W_l‖₂²",
                JIANG,
            ),
            "log_spectral_bound_origin": Measure(
                lambda norms: log_spectral_bound(norms, norms.kernels.frobenius),
                "ln (Π‖W_l‖₂² Σ‖W_l‖_F²/‖W_l‖₂² / γ²)",
                "arXiv:1706.08498, as in arXiv:1912.02178",
            ),
        }
    ),
)
