"""The multi-power law: a schedule's loss curve, from constants fitted on the curves of a few others.

With S_k(t) = Σ_{τ=k..t} η_τ, the sum of the learning rates from step k to step t,

    L(t) = L₀ + A S_1(t)^(-α) - B Σ_{k≤t} (η_{k-1} - η_k) G(η_k^(-γ) S_k(t)),   G(x) = 1 - (Cx + 1)^(-β).

The first power law is that of a constant rate. Every fall of the rate takes something off, by a power law of
its own in what follows it; every rise puts something on, but for the warm-up, which counts by its sum alone.
Source: Luo et al. (2025), arXiv:2503.12811, for runs of one peak rate. That the warm-up is whatever rises
before the first fall is this project's reading.

This project's extension to runs of different peaks counts the warm-up's rises too, from η_0 = 0 on: a higher
rate then costs what its fall takes off again.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class MultiPowerLaw(NamedTuple):
    """The seven constants, all positive, named as in the formula."""

    L0: Float[Array, ""]
    A: Float[Array, ""]
    alpha: Float[Array, ""]
    B: Float[Array, ""]
    beta: Float[Array, ""]
    gamma: Float[Array, ""]
    C: Float[Array, ""]


def predicted_losses(
    law: MultiPowerLaw,
    learning_rates: Float[Array, "steps"],
    num_updates: Int[Array, "points"] | None = None,
    *,
    count_warmup: bool | Bool[Array, ""] = False,
) -> Float[Array, "points"]:
    """L(t) after each number of updates t in `num_updates`, or after every update; O(steps) for each.

    Differentiable in the law and in the learning rates, which may be zero: a fall that nothing follows takes
    nothing off. Infinite before the first positive rate. Far from what it was fitted on, a law may predict
    losses below zero. With `count_warmup` all rises count, from zero on.

    >>> law = MultiPowerLaw(*map(jnp.float32, (1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 1.0)))
    >>> losses = predicted_losses(law, jnp.array([1.0, 1.0, 2.0, 1.0]))
    >>> [round(loss, 3) for loss in losses.tolist()]  # only the fall takes something off
    [3.0, 2.0, 1.5, 1.15]
    """
    num_steps = learning_rates.shape[0]
    num_updates = jnp.arange(1, num_steps + 1) if num_updates is None else num_updates
    previous = jnp.concatenate([jnp.zeros_like(learning_rates[:1]), learning_rates[:-1]])
    falls = previous - learning_rates
    falls = jnp.where(count_warmup | (jnp.cumsum(falls > 0) > 0), falls, 0)
    smallest = jnp.finfo(learning_rates.dtype).tiny
    log_scales = jnp.log(law.C) - law.gamma * jnp.log(jnp.maximum(learning_rates, smallest))

    def loss(t):
        sums = jax.lax.cumsum(jnp.where(jnp.arange(num_steps) < t, learning_rates, 0), reverse=True)
        followed = sums > 0
        log_sums = jnp.log(jnp.where(followed, sums, 1))
        # (Cx + 1)^(-β) = e^(-β softplus(log Cx)) overflows nowhere, nor do its gradients
        shares = -jnp.expm1(-law.beta * jax.nn.softplus(log_scales + log_sums))
        reduction = law.B * jnp.sum(jnp.where(followed, falls * shares, 0))
        decay = jnp.where(followed[0], law.A * jnp.exp(-law.alpha * log_sums[0]), jnp.inf)
        return law.L0 + decay - reduction

    return jax.lax.map(loss, num_updates)


@jax.jit
def final_losses(
    law: MultiPowerLaw,
    learning_rates: Float[Array, "runs steps"],
    *,
    count_warmup: bool | Bool[Array, ""] = False,
) -> Float[Array, "runs"]:
    """L(T) of many schedules of T steps, such as shapes times base rates, to show beside what is measured."""
    end = jnp.array([learning_rates.shape[1]])

    def final(rates):
        return predicted_losses(law, rates, end, count_warmup=count_warmup)[0]

    return jax.vmap(final)(learning_rates)
