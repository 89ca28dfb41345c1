"""PAC-Bayes bounds: how far the parameters moved, in units of the perturbation that training tolerates.

w are the ω parameters, w⁰ those at initialisation, n the training examples. σ is the largest deviation of a
perturbation that raises the training error by 0.1; σ' that of one that grows with the parameters' magnitude,
√(σ'²w² + ε²). The bounds leave out a common factor and root, which rank nothing.

The magnitude-aware posterior has the variances sᵢ = ε² + σ'²(wᵢ - w⁰ᵢ)². Its divergence from an isotropic
prior contains the log-determinant of these; against a prior of the same variances it cancels, and the
weighted distance is left. Source: arXiv:1912.02178 and the code of arXiv:2010.11924; without the
log-determinant it is ours.
"""

from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from geometry.measures.deviation import FLOOR, by_magnitude, largest_deviation
from geometry.measures.measure import Family, Measure, Network

JIANG = "arXiv:1912.02178"
CONSTANT = 10.0  # of the published bounds


class Perturbed(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      trained: w.
      moved: w - w⁰.
      sigma: σ.
      magnitude_sigma: σ'.
      examples: n.
    """

    trained: Float[Array, "d"]
    moved: Float[Array, "d"]
    sigma: Float[Array, ""]
    magnitude_sigma: Float[Array, ""]
    examples: int

    @property
    def variances(self) -> Float[Array, "d"]:
        """sᵢ, of the magnitude-aware posterior."""
        return FLOOR**2 + (self.magnitude_sigma * self.moved) ** 2


def network_perturbed(network: Network) -> Perturbed:
    """The quantities of the family."""

    def error(params):
        return jnp.mean(jnp.argmax(network.outputs(params, network.inputs), axis=1) != network.labels)

    keys = jax.random.split(network.key)
    trained, initial = (ravel_pytree(params)[0] for params in (network.params, network.initial))
    return Perturbed(
        trained,
        trained - initial,
        largest_deviation(error, network.params, keys[0]),
        largest_deviation(error, network.params, keys[1], spread=by_magnitude),
        len(network.labels),
    )


def isotropic_bound(perturbed: Perturbed, distance: Float[Array, "d"]) -> Float[Array, ""]:
    """‖distance‖²/4σ² + ln(n/σ) + 10."""
    return _bound(distance**2 / perturbed.sigma**2, perturbed.examples, perturbed.sigma)


def magnitude_bound(perturbed: Perturbed, distance: Float[Array, "d"]) -> Float[Array, ""]:
    """¼ Σ ln((ε² + (σ'² + 1)‖distance‖²/ω) / sᵢ) + ln(n/σ') + 10."""
    sigma = perturbed.magnitude_sigma
    prior = FLOOR**2 + (sigma**2 + 1) * jnp.mean(distance**2)
    return _bound(jnp.log(prior / perturbed.variances), perturbed.examples, sigma)


def weighted_bound(perturbed: Perturbed, distance: Float[Array, "d"]) -> Float[Array, ""]:
    """¼ Σ distanceᵢ²/sᵢ + ln(n/σ') + 10."""
    return _bound(distance**2 / perturbed.variances, perturbed.examples, perturbed.magnitude_sigma)


def _bound(terms: Float[Array, "d"], examples: int, sigma: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.sum(terms) / 4 + jnp.log(examples / sigma) + CONSTANT


PAC_BAYES = Family(
    network_perturbed,
    MappingProxyType(
        {
            "pac_bayes_init": Measure(
                lambda perturbed: isotropic_bound(perturbed, perturbed.moved),
                "‖w - w⁰‖²/4σ² + ln(n/σ) + 10",
                "arXiv:1706.08947, as in arXiv:1912.02178",
            ),
            "pac_bayes_origin": Measure(
                lambda perturbed: isotropic_bound(perturbed, perturbed.trained),
                "‖w‖²/4σ² + ln(n/σ) + 10",
                JIANG,
            ),
            "pac_bayes_magnitude_init": Measure(
                lambda perturbed: magnitude_bound(perturbed, perturbed.moved),
                "¼ Σ ln((ε² + (σ'² + 1)‖w - w⁰‖²/ω) / sᵢ) + ln(n/σ') + 10",
                JIANG,
            ),
            "pac_bayes_magnitude_origin": Measure(
                lambda perturbed: magnitude_bound(perturbed, perturbed.trained),
                "¼ Σ ln((ε² + (σ'² + 1)‖w‖²/ω) / sᵢ) + ln(n/σ') + 10",
                JIANG,
            ),
            "pac_bayes_weighted_init": Measure(
                lambda perturbed: weighted_bound(perturbed, perturbed.moved),
                "¼ Σ (wᵢ - w⁰ᵢ)²/sᵢ + ln(n/σ') + 10",
                "this module",
            ),
            "pac_bayes_weighted_origin": Measure(
                lambda perturbed: weighted_bound(perturbed, perturbed.trained),
                "¼ Σ wᵢ²/sᵢ + ln(n/σ') + 10",
                "this module",
            ),
            "flatness": Measure(lambda perturbed: perturbed.sigma, "σ", JIANG, sign=-1),
            "inverse_square_flatness": Measure(lambda perturbed: perturbed.sigma**-2, "1/σ²", JIANG),
            "inverse_square_magnitude_flatness": Measure(
                lambda perturbed: perturbed.magnitude_sigma**-2, "1/σ'²", JIANG
            ),
        }
    ),
)
