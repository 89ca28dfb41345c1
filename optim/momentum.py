"""Momentum as a running average, with Nesterov's look ahead."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from optim.options import check_number, is_zero


class MomentumState(NamedTuple):
    """The running average of the gradients."""

    average: PyTree


def scale_by_momentum(
    momentum: ArrayLike, *, nesterov: bool = False, dtype: str | None = None
) -> optax.GradientTransformation:
    """M ← βM + (1 - β)G; the direction is M, or (1 - β)G + βM with Nesterov's look ahead.

    Directions that ignore scale (sign, polar factor) are the same for the sum M ← βM + G, which is
    `optax.trace`. The average is not debiased. β = 0 passes G on, and keeps no M.

    A NaN or an infinity in G stays in M for good, unless β = 0: `optax.apply_if_finite` around the optimizer
    leaves such steps out.

    Args:
      momentum: β in [0, 1).
      nesterov: whether to look ahead.
      dtype: the name of the dtype to keep M in, such as "float32"; the gradient's own when None.

    Raises:
      ValueError: `momentum` is outside [0, 1).
    """
    check_number("momentum", momentum, 0, 1)
    if is_zero(momentum):
        return optax.identity()
    momentum = jnp.asarray(momentum, dtype=float)

    def blend(average, gradient):
        # a momentum that is 0 by injection or in one of many runs forgets M, even where that is infinite
        return jnp.where(momentum == 0, 0, momentum * average) + (1 - momentum) * gradient

    def init(params):
        return MomentumState(optax.tree.zeros_like(params, dtype=dtype))

    def update(updates, state, params=None):
        average = jax.tree.map(blend, state.average, updates)
        direction = jax.tree.map(blend, average, updates) if nesterov else average
        kept = jax.tree.map(lambda new, old: new.astype(old.dtype), average, state.average)
        return jax.tree.map(lambda d, g: d.astype(g.dtype), direction, updates), MomentumState(kept)

    return optax.GradientTransformation(init, update)
