"""Sharpness: the largest eigenvalue and the trace of the training loss's Hessian H and Fisher matrix F.

F is the Gauss–Newton matrix of the mean cross-entropy, labels averaged over the model's own distribution.
Traces are Hutchinson's estimates from 32 probes. None is invariant where single units are rescaled: at one
minimum of one function the trace may be anything above its least.
"""

from types import MappingProxyType
from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from geometry.curvature import gauss_newton_product, hessian_product, hutchinson_trace, top_eigenvalue
from geometry.measures.measure import Family, Measure, Network

PROBES = 32


class Curvature(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      hessian_top: λ_max(H).
      hessian_trace: Tr H.
      fisher_top: λ_max(F).
      fisher_trace: Tr F.
      examples: n.
    """

    hessian_top: Float[Array, ""]
    hessian_trace: Float[Array, ""]
    fisher_top: Float[Array, ""]
    fisher_trace: Float[Array, ""]
    examples: int


def network_curvature(network: Network) -> Curvature:
    """The quantities of the family."""
    params = network.params
    hessian = hessian_product(network.loss, params)
    fisher = gauss_newton_product(
        lambda p: network.outputs(p, network.inputs), network.loss_of_logits, params
    )
    start, probes = jax.random.split(network.key)
    return Curvature(
        top_eigenvalue(hessian, params, start),
        hutchinson_trace(hessian, params, probes, PROBES).mean,
        top_eigenvalue(fisher, params, start),
        hutchinson_trace(fisher, params, probes, PROBES).mean,
        len(network.labels),
    )


SHARPNESS = Family(
    network_curvature,
    MappingProxyType(
        {
            "hessian_top": Measure(lambda curvature: curvature.hessian_top, "λ_max(H)", "arXiv:1609.04836"),
            "hessian_trace": Measure(lambda curvature: curvature.hessian_trace, "Tr H", "arXiv:1703.04933"),
            "hessian_trace_per_example": Measure(
                lambda curvature: curvature.hessian_trace / curvature.examples, "Tr H / n", "arXiv:1703.04933"
            ),
            "fisher_trace": Measure(lambda curvature: curvature.fisher_trace, "Tr F", "arXiv:2012.14193"),
            "fisher_top": Measure(lambda curvature: curvature.fisher_top, "λ_max(F)", "arXiv:1806.01316"),
        }
    ),
)
