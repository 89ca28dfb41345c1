"""The largest random perturbation of the parameters that raises the error by no more than so much."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

LEAST, MOST = 1e-4, 10.0  # the deviations that are searched
FLOOR = 1e-3  # ε, the deviation of a parameter that is zero, where it follows the magnitude

# (σ, parameters) → the deviation of each
Spread = Callable[[Float[Array, ""], Float[Array, "d"]], Float[Array, "*#d"]]


def isotropic(sigma: Float[Array, ""], weights: Float[Array, "d"]) -> Float[Array, "d"]:
    """σ, for every parameter."""
    return jnp.broadcast_to(sigma, weights.shape)


def by_magnitude(sigma: Float[Array, ""], weights: Float[Array, "d"]) -> Float[Array, "d"]:
    """√(σ²w² + ε²), with ε = 0.001."""
    return jnp.sqrt((sigma * weights) ** 2 + FLOOR**2)


def largest_deviation(
    error: Callable[[PyTree], Float[Array, ""]],
    params: PyTree,
    key: PRNGKeyArray,
    *,
    spread: Spread = isotropic,
    increase: ArrayLike = 0.1,
    draws: int = 6,
    bisections: int = 10,
) -> Float[Array, ""]:
    """The σ at which the mean of `error` over w + spread(σ) z, z ~ N(0, I), is `increase` above that at w.

    By bisection of ln σ between 0.0001 and 10, one of which it is where the error never rises so far, or
    rises too far at once. All σ share the same z, so that the search is not misled by luck. (The published
    code of arXiv:2010.11924 draws anew, and hands σ² to a function that takes a deviation.) Source:
    arXiv:1912.02178.

    Args:
      error: of any parameters, such as the training error, in the unit of `increase`.
      params: w, where the error is low.
      key: of the draws.
      spread: `isotropic` or `by_magnitude`.
      increase: that is tolerated.
      draws: z that are averaged over, all held at once.
      bisections: each halves the error of ln σ, which is 0.6 % after ten.

    Raises ValueError when `draws` or `bisections` is below 1.
    """
    for name, value in {"draws": draws, "bisections": bisections}.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    weights, unravel = ravel_pytree(params)
    noise = jax.random.normal(key, (draws, weights.size), weights.dtype)
    tolerated = error(params) + increase

    def halved(bounds, _):
        centre = jnp.mean(bounds)
        deviations = spread(jnp.exp(centre), weights)
        raised = jnp.mean(jax.vmap(lambda z: error(unravel(weights + deviations * z)))(noise))
        return jnp.where(
            raised > tolerated, jnp.array([bounds[0], centre]), jnp.array([centre, bounds[1]])
        ), None

    ends = jnp.log(jnp.array([LEAST, MOST], weights.dtype))
    return jnp.exp(jnp.mean(jax.lax.scan(halved, ends, length=bisections)[0]))
