"""Adam, slower where the gradient changes little: a control for others."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from optim.options import check_number


class DiffGradState(NamedTuple):
    """Adam's state, and the last gradient."""

    adam: optax.ScaleByAdamState
    gradient: PyTree


def scale_by_diffgrad(
    b1: ArrayLike = 0.9, b2: ArrayLike = 0.999, eps: ArrayLike = 1e-8
) -> optax.GradientTransformation:
    """Adam's direction times σ(|g_{t-1} - g_t|), entry by entry, with g₀ = 0 (arXiv:1909.11015).

    For comparison alone: where gradients are well below 1, as in most networks, the factor is ½ almost
    everywhere, so that this is Adam at half the learning rate; it depends on the loss's scale, as Adam does
    not. (The first published code kept g_{t-1} by reference, and had ½ always.)

    >>> tx = scale_by_diffgrad()
    >>> state, directions = tx.init(jnp.zeros(1)), []
    >>> for _ in range(2):
    ...     direction, state = tx.update(jnp.full(1, 3.0), state)
    ...     directions.append(round(float(direction[0]), 4))
    >>> directions  # σ(3), then ½
    [0.9526, 0.5]

    Args:
      b1: the decay rate of the average of gradients, in [0, 1).
      b2: that of their squares.
      eps: added to the root of the latter.

    Raises:
      ValueError: a decay rate is outside [0, 1), or `eps` negative.
    """
    check_number("b1", b1, 0, 1)
    check_number("b2", b2, 0, 1)
    check_number("eps", eps, 0)
    adam = optax.scale_by_adam(b1, b2, eps)

    def init(params):
        return DiffGradState(adam.init(params), optax.tree.zeros_like(params))

    def update(updates, state, params=None):
        directions, adam_state = adam.update(updates, state.adam, params)
        slowed = jax.tree.map(
            lambda d, g, old: d * jax.nn.sigmoid(jnp.abs(old - g)), directions, updates, state.gradient
        )
        return slowed, DiffGradState(adam_state, optax.tree.cast_like(updates, state.gradient))

    return optax.GradientTransformation(init, update)
