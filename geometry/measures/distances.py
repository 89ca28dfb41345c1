"""Distances of a network's kernels from initialisation, W⁰, in the notation of `geometry.measures.kernels`.

Not rescaled: what a layer has moved is not what another one has. All are -∞ where nothing has moved.
"""

from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp

from geometry.measures.kernels import (
    JIANG,
    KernelNorms,
    Norms,
    kernel_norms,
    log_product,
    log_spectral_bound,
    network_norms,
)
from geometry.measures.measure import Family, Measure, Network


class Distances(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      kernels: the norms of W_l - W⁰_l.
      trained: those of the kernels themselves, with the margin.
    """

    kernels: KernelNorms
    trained: Norms


def network_distances(network: Network) -> Distances:
    """The quantities of the family."""
    moved = jax.tree.map(jnp.subtract, network.params, network.initial)
    return Distances(kernel_norms(moved), network_norms(network))


DISTANCES = Family(
    network_distances,
    MappingProxyType(
        {
            "log_product_spectral_distance": Measure(
                lambda distances: log_product(distances.kernels.spectral), "ln Π‖W_l - W⁰_l‖₂²", JIANG
            ),
            "log_product_frobenius_distance": Measure(
                lambda distances: log_product(distances.kernels.frobenius), "ln Π‖W_l - W⁰_l‖_F²", JIANG
            ),
            "log_sum_spectral_distance": Measure(
                lambda distances: jnp.log(jnp.sum(distances.kernels.spectral**2)),
                "ln Σ‖W_l - W⁰_l‖₂²",
                JIANG,
            ),
            "log_sum_frobenius_distance": Measure(
                lambda distances: jnp.log(jnp.sum(distances.kernels.frobenius**2)),
                "ln Σ‖W_l - W⁰_l‖_F²",
                "arXiv:1901.01672",
            ),
            "log_spectral_bound_init": Measure(
                lambda distances: log_spectral_bound(distances.trained, distances.kernels.frobenius),
                "ln (Π‖W_l‖₂² Σ‖W_l - W⁰_l‖_F²/‖W_l‖₂² / γ²)",
                "arXiv:1706.08498, as in arXiv:1912.02178",
            ),
        }
    ),
)
