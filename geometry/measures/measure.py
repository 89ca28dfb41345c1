"""What a measure of generalisation is, and what it looks at."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from geometry.calibration import negative_log_likelihood


class Network(NamedTuple):
    """A trained classifier with its training examples: what the families of measures look at.

    Attributes:
      outputs: (params, inputs) → logits, a row for each input.
      params: the trained parameters.
      initial: those that training began with.
      inputs: the training examples, on the leading axis.
      labels: their classes.
      twin: parameters that the same training ended with from another seed.
      key: for whatever is drawn at random.
    """

    outputs: Callable[[PyTree, Float[Array, "examples ..."]], Float[Array, "examples classes"]]
    params: PyTree
    initial: PyTree
    inputs: Float[Array, "examples ..."]
    labels: Int[Array, "examples"]
    twin: PyTree
    key: PRNGKeyArray

    def loss_of_logits(self, logits: Float[Array, "examples classes"]) -> Float[Array, ""]:
        """The mean cross-entropy of softmax at the training labels."""
        return negative_log_likelihood(logits, self.labels)

    def loss(self, params: PyTree) -> Float[Array, ""]:
        """The mean cross-entropy over the training examples."""
        return self.loss_of_logits(self.outputs(params, self.inputs))


class Measure(NamedTuple):
    """A number that is to tell, from the training examples alone, how well a network generalises.

    Attributes:
      value: what the family knows of a network → the number; infinite where it says nothing.
      formula: the same in the notation of the family's module.
      source: where it was proposed, or studied.
      sign: 1 where a larger value is to mean a larger test error, -1 where a smaller one is.
    """

    value: Callable[[Any], Float[Array, ""]]
    formula: str
    source: str
    sign: int = 1


class Family(NamedTuple):
    """Measures of the same few quantities of a network, which are computed once for all of them.

    Attributes:
      quantities: a network → what the measures are functions of.
      measures: by name.
    """

    quantities: Callable[[Network], Any]
    measures: Mapping[str, Measure]
