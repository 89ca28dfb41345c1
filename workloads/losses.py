"""Losses of classifiers beside softmax's, which optax has."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def stablemax(logits: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The cross-entropy -ln p of the labels: p = s(x)/Σs(x), s(x) = x + 1 for x ≥ 0 and 1/(1 - x) below.

    In float32, softmax leaves no gradient to a logit that leads by 24 ln 2 = 16.6; here one that leads by
    1000 still has 1e-6. What is added to all logits changes the loss, one that is NaN or ∞ makes it NaN, and
    it is computed in their dtype: the authors use float64. Source: arXiv:2501.04697.

    >>> loss = stablemax(jnp.array([1.0, 0.0, -1.0]), jnp.array(0))
    >>> round(float(jnp.exp(-loss)), 4)  # 2 of 2 + 1 + ½
    0.5714

    Raises:
      TypeError: logits are no floats.
    """
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"logits must be of floats, got {logits.dtype}")
    # of each sign apart: at 0 both have half the slope of 1
    scores = jnp.log1p(jnp.maximum(logits, 0)) - jnp.log1p(jnp.maximum(-logits, 0))
    chosen = jnp.take_along_axis(scores, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(scores, axis=-1) - chosen
