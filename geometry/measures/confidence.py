"""Calibration and confidence on the training examples, pᵢ being softmax of the logits."""

from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from geometry.calibration import expected_calibration_error, negative_log_likelihood, top_class
from geometry.measures.measure import Family, Measure, Network


class Predictions(NamedTuple):
    """What the measures of this family are functions of.

    Attributes:
      logits: of the training examples.
      twin_logits: those of the network from another seed.
      labels: the classes.
    """

    logits: Float[Array, "examples classes"]
    twin_logits: Float[Array, "examples classes"]
    labels: Int[Array, "examples"]

    @property
    def probabilities(self) -> Float[Array, "examples classes"]:
        return jax.nn.softmax(self.logits)


def network_predictions(network: Network) -> Predictions:
    """The quantities of the family."""
    logits, twin_logits = (network.outputs(p, network.inputs) for p in (network.params, network.twin))
    return Predictions(logits, twin_logits, network.labels)


def _entropy(predictions: Predictions) -> Float[Array, ""]:
    logarithms = jax.nn.log_softmax(predictions.logits)
    return -jnp.mean(jnp.sum(jnp.exp(logarithms) * logarithms, axis=1))


def _disagreement(predictions: Predictions) -> Float[Array, ""]:
    chosen, twin_chosen = (jnp.argmax(logits, axis=1) for logits in predictions[:2])
    return jnp.mean(chosen != twin_chosen)


CONFIDENCE = Family(
    network_predictions,
    MappingProxyType(
        {
            "calibration_error": Measure(
                lambda predictions: expected_calibration_error(
                    *top_class(predictions.probabilities, predictions.labels)
                ),
                "ECE, 15 equal bins",
                "arXiv:1706.04599",
            ),
            "confidence": Measure(
                lambda predictions: jnp.mean(jnp.max(predictions.probabilities, axis=1)),
                "mean max pᵢ",
                "arXiv:1610.02136",
                sign=-1,
            ),
            "entropy": Measure(_entropy, "-mean Σ pᵢ ln pᵢ", "arXiv:1610.02136"),
            "negative_log_likelihood": Measure(
                lambda predictions: negative_log_likelihood(predictions.logits, predictions.labels),
                "-mean ln pᵢ at the label",
                "arXiv:1912.02178",
            ),
            "disagreement": Measure(
                _disagreement, "the share of examples classed otherwise by the twin", "arXiv:2106.13799"
            ),
        }
    ),
)
