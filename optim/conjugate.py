"""Nonlinear conjugate gradients without a line search, as a direction for any learning rate."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry.precision import binary_unit, widened
from optim.options import check_choice


class ConjugateState(NamedTuple):
    """The gradient and the direction of the last step, both zero before the first."""

    gradient: PyTree
    direction: PyTree


class _Step(NamedTuple):
    """A leaf's g, the gradient g₋ before it, y = g - g₋ and D₋ = -d₋, in one unit, which β does not have."""

    gradient: Array
    previous: Array
    change: Array
    direction: Array

    @classmethod
    def of(cls, gradient: Array, previous: Array, direction: Array) -> "_Step":
        arrays = [widened(array) for array in (gradient, previous, direction)]
        unit = jnp.max(jnp.asarray([binary_unit(array) for array in arrays]))
        gradient, previous, direction = (array / unit for array in arrays)
        return cls(gradient, previous, gradient - previous, direction)

    @property
    def curvature(self) -> Float[Array, ""]:
        """d₋ᵀy."""
        return -jnp.sum(self.direction * self.change)


def _fletcher_reeves(step: _Step) -> Float[Array, ""]:
    return _ratio(jnp.sum(step.gradient**2), jnp.sum(step.previous**2))


def _polak_ribiere_polyak(step: _Step) -> Float[Array, ""]:
    return _ratio(jnp.sum(step.gradient * step.change), jnp.sum(step.previous**2))


def _hestenes_stiefel(step: _Step) -> Float[Array, ""]:
    return _ratio(jnp.sum(step.gradient * step.change), step.curvature)


def _dai_yuan(step: _Step) -> Float[Array, ""]:
    return _ratio(jnp.sum(step.gradient**2), step.curvature)


def _hager_zhang(step: _Step) -> Float[Array, ""]:
    # divided twice: the square of a small curvature is none
    slope = _ratio(jnp.sum(step.gradient * step.direction), step.curvature)
    return _hestenes_stiefel(step) + 2 * _ratio(jnp.sum(step.change**2), step.curvature) * slope


def _hestenes_stiefel_dai_yuan(step: _Step) -> Float[Array, ""]:
    return jnp.maximum(0, jnp.minimum(_hestenes_stiefel(step), _dai_yuan(step)))


def _fletcher_reeves_polak_ribiere(step: _Step) -> Float[Array, ""]:
    return jnp.maximum(0, jnp.minimum(_fletcher_reeves(step), _polak_ribiere_polyak(step)))


def _ratio(numerator: Float[Array, ""], divisor: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.where(divisor == 0, 0, numerator / jnp.where(divisor == 0, 1, divisor))


CONJUGATE_RULES: Mapping[str, Callable[[_Step], Float[Array, ""]]] = MappingProxyType(
    {
        "fletcher_reeves": _fletcher_reeves,
        "polak_ribiere_polyak": _polak_ribiere_polyak,
        "hestenes_stiefel": _hestenes_stiefel,
        "dai_yuan": _dai_yuan,
        "hager_zhang": _hager_zhang,
        "hestenes_stiefel_dai_yuan": _hestenes_stiefel_dai_yuan,
        "fletcher_reeves_polak_ribiere": _fletcher_reeves_polak_ribiere,
    }
)


def conjugate_gradient(
    rule: str, cap: tuple[float | int, float | int] = (0.0, 0.5), scale: ArrayLike = 1.0
) -> optax.GradientTransformation:
    """D_t = g_t + c β_t D_{t-1} leaf by leaf, the direction that a learning rate goes down, or a player.

    With y = g_t - g_{t-1} and d = -D, the direction gone in, β is

    - fletcher_reeves: ‖g_t‖² / ‖g_{t-1}‖²
    - polak_ribiere_polyak: g_tᵀy / ‖g_{t-1}‖²
    - hestenes_stiefel: g_tᵀy / d_{t-1}ᵀy
    - dai_yuan: ‖g_t‖² / d_{t-1}ᵀy
    - hager_zhang: g_tᵀy / d_{t-1}ᵀy - 2 ‖y‖² g_tᵀd_{t-1} / (d_{t-1}ᵀy)²
    - hestenes_stiefel_dai_yuan and fletcher_reeves_polak_ribiere: the smaller of the two, at least 0

    clipped to `cap`, and 0 where a divisor is. A direction that is no more than rounding noise beside g is 0,
    as that of hestenes_stiefel on a scalar is after every step. Of these hager_zhang alone descends from any
    D, by g_tᵀd_t ≤ -(1 - c/8) ‖g_t‖², and does so under every cap that ends at 0 or above. With an exact
    line search and no cap all are the linear method on a quadratic, done in as many steps as it has
    dimensions; in a game they speed its rotation up. The paper caps from above alone, (-inf, 0.5), where
    dai_yuan may run away. Source: arXiv:2203.14495. (Its published optimizer multiplies by β twice and,
    keeping the gradient by reference, has y = 0 always.)

    >>> tx = optax.chain(conjugate_gradient("polak_ribiere_polyak"), optax.scale_by_learning_rate(0.1))
    >>> state, g = tx.init(jnp.zeros(2)), jnp.array([1.0, 2.0])
    >>> first, state = tx.update(g, state)
    >>> second, state = tx.update(1.2 * g, state)  # β = 1.2 · 0.2
    >>> [[round(float(u), 3) for u in update] for update in (first, second)]
    [[-0.1, -0.2], [-0.144, -0.288]]

    Args:
      rule: one of `CONJUGATE_RULES`.
      cap: what β is clipped to.
      scale: c in (0, 1].

    Raises:
      ValueError: `rule` is unknown, `cap` descends, or `scale` is not in (0, 1].
    """
    check_choice("rule", rule, tuple(CONJUGATE_RULES))
    if not cap[0] <= cap[1]:
        raise ValueError(f"cap must not descend, got {cap}")
    if not isinstance(scale, jax.core.Tracer) and not 0 < np.asarray(scale) <= 1:
        raise ValueError(f"scale must be in (0, 1], got {scale}")

    def conjugate(gradient, previous, direction):
        beta = jnp.clip(CONJUGATE_RULES[rule](_Step.of(gradient, previous, direction)), *cap)
        # infinite without a cap, or infinity less infinity, where divisors are next to nothing
        beta = jnp.where(jnp.isfinite(beta), beta, 0)
        new = widened(gradient) + scale * beta * widened(direction)
        noise = 8 * jnp.finfo(gradient.dtype).eps * jnp.max(jnp.abs(gradient), initial=0)
        return jnp.where(jnp.max(jnp.abs(new), initial=0) <= noise, 0, new).astype(gradient.dtype)

    def init(params):
        return ConjugateState(*(optax.tree.zeros_like(params) for _ in range(2)))

    def update(updates, state, params=None):
        direction = jax.tree.map(conjugate, updates, state.gradient, state.direction)
        return direction, ConjugateState(*(optax.tree.cast_like(t, state[0]) for t in (updates, direction)))

    return optax.GradientTransformation(init, update)
