"""Published methods of few synchronisations, as settings of `local_steps`."""

from typing import Any

import optax
from jax.typing import ArrayLike

from optim.local_steps import Inner, local_steps


def local_sgd(inner: Inner, *, every: ArrayLike, **options: Any) -> optax.GradientTransformationExtraArgs:
    """Local SGD (arXiv:1805.09767): every H steps the workers go on from the mean of their parameters.

    With SGD or heavy ball inside, H = 1 takes the steps of the averaged gradient; of heavy ball the momenta
    stay each worker's, and their mean is that of the averaged gradient. Adam has no such identity. See
    `local_steps` for the options and errors.
    """
    return local_steps(inner, optax.sgd(1.0), every=every, **options)


def post_local_sgd(
    inner: Inner, *, every: ArrayLike, start: ArrayLike, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """Post-local SGD (arXiv:1808.07217): averaged gradients for `start` steps, and Local SGD from then on."""
    return local_sgd(inner, every=every, start=start, **options)


def diloco(
    inner: Inner,
    *,
    every: ArrayLike,
    outer_learning_rate: optax.ScalarOrSchedule = 0.7,
    outer_momentum: ArrayLike = 0.9,
    **options: Any,
) -> optax.GradientTransformationExtraArgs:
    """DiLoCo (arXiv:2311.08105): an outer step of Nesterov's momentum, v ← μv + Δ, a ← a - γ(Δ + μv).

    In the long run γ/(1 - μ) times what the workers move on average, 7 times by default; on a quadratic with
    the curvature h and the inner rate α it is stable for γ(1 - (1 - αh)^H) < (2 + 2μ)/(1 + 2μ), 1.357 at μ =
    0.9. The defaults are OpenDiLoCo's. See `local_steps` for the other options and errors.

    Args:
      outer_learning_rate: γ; a schedule counts boundaries.
      outer_momentum: μ.
    """
    outer = optax.sgd(outer_learning_rate, outer_momentum, nesterov=True)
    return local_steps(inner, outer, every=every, **options)


def snoo(inner: optax.GradientTransformation, **options: Any) -> optax.GradientTransformationExtraArgs:
    """One worker's outer step of Nesterov's momentum (SNOO, arXiv:2510.15830): `diloco` without an axis."""
    return diloco(inner, axis_name=None, **options)


def palsgd(
    inner: Inner, *, mix_probability: ArrayLike = 0.2, mix: optax.ScalarOrSchedule, **options: Any
) -> optax.GradientTransformationExtraArgs:
    """PALSGD (arXiv:2504.18454): `diloco` whose workers are drawn to the anchor by chance in between.

    `mix` is αη, with the published η from 0.5 to 1. See `local_steps`.
    """
    return diloco(inner, mix_probability=mix_probability, mix=mix, **options)
