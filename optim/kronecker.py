"""Natural gradients of dense layers by Kronecker-factored curvature: a small, exact reference."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry.matrices import leaf_path
from geometry.precision import full_product, widened
from optim.options import check_number


class KroneckerFactors(NamedTuple):
    """The Fisher matrix of a dense layer as A ⊗ G: what enters it, and what comes back (arXiv:1503.05671).

    Attributes:
      inputs: A = E a aᵀ of the layer's inputs a, with a last one of 1 where it has a bias.
      outputs: G = E g gᵀ of the gradients g of one example's log-likelihood by the layer's outputs.
    """

    inputs: Float[Array, "fan_in fan_in"]
    outputs: Float[Array, "fan_out fan_out"]

    @classmethod
    def of(
        cls, inputs: Float[Array, "rows fan_in"], output_gradients: Float[Array, "rows fan_out"]
    ) -> "KroneckerFactors":
        """The factors of a batch, whose rows are examples, or an example's positions.

        The gradients are those of one row's own loss, not of the batch's mean, and for the Fisher matrix of
        labels that the model draws: those of the data make the empirical one, whose steps are longer, without
        bound, the smaller the residuals are.
        """
        return cls(
            *(full_product(rows.T, rows) / len(rows) for rows in map(widened, (inputs, output_gradients)))
        )

    def blended(self, newer: "KroneckerFactors", decay: ArrayLike = 0.95) -> "KroneckerFactors":
        """The running average, decay · these + (1 - decay) · newer ones."""
        return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, self, newer)

    def precondition(
        self, gradient: Float[Array, "fan_in fan_out"], damping: ArrayLike
    ) -> Float[Array, "fan_in fan_out"]:
        """(A + π√λ I)⁻¹ ∇W (G + √λ/π I)⁻¹, with π² the mean eigenvalue of A over that of G.

        With λ = 0 it is unchanged by linear maps of inputs that the weights undo, and NaN where a factor is
        singular; for large λ it is the gradient over λ. π makes it unchanged where A grows and G shrinks.
        """
        means = jnp.trace(self.inputs) / len(self.inputs), jnp.trace(self.outputs) / len(self.outputs)
        balance = jnp.where(means[0] * means[1] > 0, jnp.sqrt(means[0]) / jnp.sqrt(means[1]), 1)
        root = jnp.sqrt(jnp.asarray(damping, float))
        halfway = _solved(self.inputs, root * balance, widened(gradient))
        return _solved(self.outputs, root / balance, halfway.T).T.astype(gradient.dtype)


def natural_gradient(
    gradients: PyTree, factors: Mapping[str, KroneckerFactors], damping: ArrayLike
) -> PyTree:
    """The gradients of dense layers, each by its own factors (K-FAC), for any optax chain to step by.

    What it needs of a step, no gradient tells: which activations entered a layer and what came back. So this
    is a function of a training loop, and no transformation. With kfac-jax's momentum, norm constraint and
    adaptive damping it has nothing in common but the directions.

    >>> batch = jax.random.normal(jax.random.key(0), (20, 3)) * jnp.array([[1.0, 10.0, 0.1]])
    >>> weights = jnp.array([[1.0], [2.0], [3.0]])
    >>> gradients = {"linear": {"kernel": batch.T @ (batch @ (0 - weights)) / 20}}  # at 0, of squares halved
    >>> factors = {"linear": KroneckerFactors(batch.T @ batch / 20, jnp.eye(1))}  # of a normal distribution
    >>> step = natural_gradient(gradients, factors, 0.0)["linear"]["kernel"]
    >>> [round(float(w), 3) for w in -step[:, 0]]  # at once at the least squares
    [1.0, 2.0, 3.0]

    Args:
      gradients: a tree of layers, each with a `kernel` of fan-in × fan-out, and a `bias` or none.
      factors: those of every layer by its path, such as "block_0/up"; A has a row more where there is a bias.
      damping: λ, the multiple of the identity that the curvature is taken to have besides.

    Raises:
      ValueError: `damping` is negative, or a leaf is of no layer that has factors.
    """
    check_number("damping", damping, 0)

    def is_layer(node):
        return isinstance(node, Mapping) and "kernel" in node

    def stepped(key_path, layer):
        path = leaf_path(key_path)
        if not is_layer(layer) or path not in factors or not set(layer) <= {"kernel", "bias"}:
            raise ValueError(f"{path}: no dense layer with Kronecker factors; there are {', '.join(factors)}")
        kernel = layer["kernel"]
        if "bias" not in layer:
            return {"kernel": factors[path].precondition(kernel, damping)}
        joint = factors[path].precondition(jnp.concatenate([kernel, layer["bias"][None]]), damping)
        return {"kernel": joint[:-1], "bias": joint[-1]}

    return jax.tree_util.tree_map_with_path(stepped, gradients, is_leaf=is_layer)


def _solved(
    factor: Float[Array, "n n"], damping: Float[Array, ""], right: Float[Array, "n columns"]
) -> Float[Array, "n columns"]:
    return cho_solve(cho_factor(factor + damping * jnp.eye(len(factor), dtype=factor.dtype)), right)
