"""The geometry of an optimisation path: how gradients lie to the way that is left to a reference point.

Source: arXiv:2306.11922, whose reference w* is the end of the trained path itself.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from geometry.norms import EUCLIDEAN
from geometry.precision import widened


class PathGeometry(NamedTuple):
    """Where a gradient g at w points, with a reference w*.

    Attributes:
      rsi: ⟨g, w - w*⟩ / ‖w - w*‖², the restricted secant inequality's constant here; gradient per distance.
      eb: ‖g‖ / ‖w - w*‖, the error bound's; in the same unit.
      cosine: γ = rsi / eb of the angle between g and w - w*; positive where -g leads nearer to w*.
      step: η = rsi / eb² = ⟨g, w - w*⟩ / ‖g‖², the learning rate with which w - η g is nearest to w*:
        ‖w - η g - w*‖² = (1 - γ²) ‖w - w*‖².
    """

    rsi: Float[Array, ""]
    eb: Float[Array, ""]
    cosine: Float[Array, ""]
    step: Float[Array, ""]


def path_geometry(gradient: PyTree, params: PyTree, reference: PyTree) -> PathGeometry:
    """RSI, EB, their ratio γ and the locally optimal step, over all leaves as one vector.

    In float32, or wider where the leaves are, at any scale of them. Where the gradient is zero or the
    parameters are the reference, all four are zero. For an optimiser's update u, which points down, pass -u.

    >>> found = path_geometry(jnp.array([3.0, 4.0]), jnp.array([5.0, 1.0]), jnp.array([0.0, 1.0]))
    >>> [round(float(value), 4) for value in found]
    [0.6, 1.0, 0.6, 0.6]
    """
    g, w, end = (widened(ravel_pytree(tree)[0]) for tree in (gradient, params, reference))
    way = w - end
    norm, distance = EUCLIDEAN.norm(g), EUCLIDEAN.norm(way)
    cosine = jnp.sum(EUCLIDEAN.direction(g) * EUCLIDEAN.direction(way))
    eb = _ratio_or_zero(norm, distance)
    return PathGeometry(cosine * eb, eb, cosine, cosine * _ratio_or_zero(distance, norm))


def _ratio_or_zero(numerator: Float[Array, ""], denominator: Float[Array, ""]) -> Float[Array, ""]:
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))
