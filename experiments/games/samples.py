"""What is drawn from a mixture of eight Gaussians, and how far other samples are from it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

MODES, RADIUS, DEVIATION = 8, 2.0, 0.1
NEAR = 3 * DEVIATION  # what belongs to a mode
COVERED = 0.25  # of a mode's share of the samples, which it needs to count
DIRECTIONS = 32


def centres() -> Float[Array, "modes 2"]:
    """Of the modes, at equal distances on a circle."""
    angles = 2 * jnp.pi * jnp.arange(MODES) / MODES
    return RADIUS * jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)


def mixture(key: PRNGKeyArray, count: int) -> Float[Array, "{count} 2"]:
    """Samples of the mixture."""
    mode, noise = jax.random.split(key)
    chosen = centres()[jax.random.randint(mode, (count,), 0, MODES)]
    return chosen + DEVIATION * jax.random.normal(noise, (count, 2))


def sliced_wasserstein(samples: Float[Array, "count 2"], others: Float[Array, "count 2"]) -> Float[Array, ""]:
    """The mean over directions of the Wasserstein-1 distance of what is projected on them.

    In one dimension that is the mean of |a - b| over both in ascending order.
    """
    angles = jnp.pi * jnp.arange(DIRECTIONS) / DIRECTIONS
    directions = jnp.stack([jnp.cos(angles), jnp.sin(angles)])
    first, second = (jnp.sort(points @ directions, axis=0) for points in (samples, others))
    return jnp.mean(jnp.abs(first - second))


def covered_modes(samples: Float[Array, "count 2"]) -> Float[Array, ""]:
    """How many modes have within 3 deviations at least a quarter of the samples that are theirs."""
    distances = jnp.linalg.norm(samples[:, None, :] - centres()[None, :, :], axis=2)
    shares = jnp.mean(distances < NEAR, axis=0)
    return jnp.sum(shares >= COVERED / MODES).astype(samples.dtype)
