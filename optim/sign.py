"""Sign descent: the steepest direction under the largest-entry norm, of the gradient or its momentum."""

import optax
from jax.typing import ArrayLike

from optim.momentum import scale_by_momentum
from optim.options import check_number
from optim.step import COUPLED, Decay


def sign_descent(
    learning_rate: optax.ScalarOrSchedule, *, weight_decay: ArrayLike = 0.0, decay: Decay = COUPLED
) -> optax.GradientTransformation:
    """W ← W - η sign(G), with decoupled weight decay.

    A NaN in G is one in W; an infinity is a step as any other. Neither is remembered. Around this, as around
    every method here, `optax.apply_if_finite` leaves steps out whose gradient is not finite.

    >>> import jax.numpy as jnp
    >>> tx = sign_descent(0.1)
    >>> tx.update(jnp.array([3.0, 0.0, -1e-30]), tx.init(jnp.zeros(3)))[0]
    Array([-0.1, -0. ,  0.1], dtype=float32)

    Args:
      learning_rate: η, a number or a schedule.
      weight_decay: λ; see `Decay` for what it is multiplied with.
      decay: how the decay follows the learning rate, and which leaves it spares.

    Raises:
      ValueError: a number is negative.
    """
    return signum(learning_rate, momentum=0.0, weight_decay=weight_decay, decay=decay)


def signum(
    learning_rate: optax.ScalarOrSchedule,
    momentum: ArrayLike = 0.9,
    *,
    nesterov: bool = False,
    weight_decay: ArrayLike = 0.0,
    decay: Decay = COUPLED,
    momentum_dtype: str | None = None,
) -> optax.GradientTransformation:
    """M ← βM + (1 - β)G, W ← W - η sign(M), with decoupled weight decay (arXiv:1802.04434).

    A NaN in G stays in M, and so in W, for good; after an infinity its weight steps to one side for ever,
    by finite steps that nothing tells from others. `optax.apply_if_finite` around this leaves such steps out.

    Args:
      learning_rate: η, a number or a schedule.
      momentum: β in [0, 1).
      nesterov: whether to take the sign of (1 - β)G + βM instead.
      weight_decay: λ; see `Decay` for what it is multiplied with.
      decay: how the decay follows the learning rate, and which leaves it spares.
      momentum_dtype: the name of the dtype to keep M in; the gradient's own when None.

    Raises:
      ValueError: `momentum` is outside [0, 1), or a number is negative.
    """
    check_number("weight_decay", weight_decay, 0)
    return optax.chain(
        scale_by_momentum(momentum, nesterov=nesterov, dtype=momentum_dtype),
        optax.scale_by_sign(),
        decay.step(learning_rate, weight_decay),
    )
