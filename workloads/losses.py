"""Losses of classifiers beside the cross-entropy of softmax, which optax has."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
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


def focal(
    logits: Float[Array, "batch classes"], labels: Int[Array, "batch"], gamma: ArrayLike
) -> Float[Array, "batch"]:
    """-(1 - p)^γ ln p of every example, with p softmax at the label; γ = 0 is the cross-entropy, in nats.

    Its gradient is the cross-entropy's times (1 - p)^γ - γp(1 - p)^(γ-1) ln p. It is flatter than the
    cross-entropy only where the model is confident already (at p = .9, not at ½), not convex for γ > 0, and
    improper: of an event of probability .7 it makes .617, .579, .538 with γ = 1, 2, 5. Both factors come from
    the logits, and no over- or underflow spoils a gradient. Source: arXiv:1708.02002.

    >>> focal(jnp.array([[0.0, 0.0]]), jnp.array([1]), gamma=2.0)  # ¼ ln 2
    Array([0.1732868], dtype=float32)

    Raises ValueError for a negative γ, where it is not traced.
    """
    if not isinstance(gamma, jax.core.Tracer) and gamma < 0:
        raise ValueError(f"gamma must not be negative, got {gamma}")
    hit = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
    total = jax.nn.logsumexp(logits, axis=1)
    log_miss = jax.nn.logsumexp(jnp.where(hit, -jnp.inf, logits), axis=1) - total
    return jnp.exp(gamma * log_miss) * (total - jnp.sum(jnp.where(hit, logits, 0), axis=1))
