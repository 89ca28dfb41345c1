"""Losses over several environments that ask for what holds in all of them.

R_e is the mean cross-entropy in environment e; all have equally many examples, and lie on the leading axis.
Empirical risk minimisation descends on the mean of R_e; these add a penalty to it, or weigh it.
"""

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

Logits = Float[Array, "environments batch classes"]
Labels = Int[Array, "environments batch"]


def risks(logits: Logits, labels: Labels) -> Float[Array, "environments"]:
    """R_e, in nats."""
    one_hot = jax.nn.one_hot(labels, logits.shape[-1])
    return jnp.mean(optax.softmax_cross_entropy(logits, one_hot), axis=1)


def irm_penalty(logits: Logits, labels: Labels) -> Float[Array, ""]:
    """IRMv1: the mean over environments of (∂R_e(s·logits)/∂s at s = 1)², without bias.

    The square of a batch's mean slope is too large by the slopes' variance over the batch size: a penalty on
    noise. The product of the slopes of two halves is not, and may be negative. It is zero where logits are: a
    model that tells nothing is invariant. Source: arXiv:1907.02893.

    Raises ValueError for one environment, or fewer than two examples in each.
    """
    _check_environments(len(labels))
    if labels.shape[1] < 2:
        raise ValueError(f"labels: two halves need at least 2 examples an environment, got {labels.shape[1]}")
    residuals = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])
    slopes = jnp.sum(residuals * logits, axis=-1)  # of each example
    first, second = jnp.array_split(slopes, 2, axis=1)
    return jnp.mean(jnp.mean(first, axis=1) * jnp.mean(second, axis=1))


def irm(logits: Logits, labels: Labels, weight: ArrayLike) -> Float[Array, ""]:
    """mean R_e + weight · `irm_penalty`."""
    return jnp.mean(risks(logits, labels)) + weight * irm_penalty(logits, labels)


def risk_extrapolation(
    environment_risks: Float[Array, "environments"], weight: ArrayLike
) -> Float[Array, ""]:
    """V-REx: mean R_e + weight · Var_e R_e, whose penalty does not change by what is added to all risks.

    Source: arXiv:2003.00688. Raises ValueError for one environment.

    >>> risk_extrapolation(jnp.array([1.0, 3.0]), weight=10.0)
    Array(12., dtype=float32)
    """
    _check_environments(len(environment_risks))
    return jnp.mean(environment_risks) + weight * jnp.var(environment_risks)


def bottleneck_irm(
    logits: Logits,
    labels: Labels,
    features: Float[Array, "environments batch features"],
    weight: ArrayLike,
    bottleneck_weight: ArrayLike,
) -> Float[Array, ""]:
    """IB-IRM: `irm` + bottleneck_weight · the features' variance in an environment, averaged over both.

    Of the invariant predictors it prefers the one that knows least. `features` are what enters the last
    layer, or the logits themselves. Source: arXiv:2106.06607. Raises as `irm_penalty` does.
    """
    return irm(logits, labels, weight) + bottleneck_weight * jnp.mean(jnp.var(features, axis=1))


def group_dro(
    environment_risks: Float[Array, "environments"],
    weights: Float[Array, "environments"],
    step_size: ArrayLike,
) -> tuple[Float[Array, ""], Float[Array, "environments"]]:
    """One step of group DRO: q_e ∝ q_e exp(η R_e), then the loss Σ q_e R_e, which tends to the worst risk.

    Source: arXiv:1911.08731. Raises ValueError for one environment.

    >>> loss, weights = group_dro(jnp.array([1.0, 3.0]), jnp.array([0.5, 0.5]), step_size=jnp.log(3.0) / 2)
    >>> round(float(loss), 4), weights.round(4)
    (2.5, Array([0.25, 0.75], dtype=float32))

    Args:
      environment_risks: R_e.
      weights: q_e, which sum to 1; equal at first.
      step_size: η ≥ 0.

    Returns:
      The loss, whose gradient passes by the weights, and the weights to go on with.
    """
    _check_environments(len(weights))
    moved = jax.lax.stop_gradient(jax.nn.softmax(jnp.log(weights) + step_size * environment_risks))
    return jnp.vdot(moved, environment_risks), moved


def _check_environments(count: int) -> None:
    if count < 2:
        raise ValueError(f"environments: what is invariant shows in at least 2 of them, got {count}")
