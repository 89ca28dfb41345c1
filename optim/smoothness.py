"""Sharpness-aware minimisation whose learning rate and radius follow the smoothness that it meets."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from optim.ascent import ascended, check_gradient_function, check_whole, moved, tree_norm
from optim.options import check_choice, check_positive


class _Constants(NamedTuple):
    """What the two forms differ in: κ, γ and o of the rule, θ₀, and whether ρ is a step behind η."""

    damping: float
    growth: float
    offset: float
    first_ratio: float
    lags: bool


_CONSTANTS: Mapping[str, _Constants] = MappingProxyType(
    {
        "paper": _Constants(damping=2, growth=1, offset=0, first_ratio=math.inf, lags=False),
        "published": _Constants(damping=1, growth=0.02, offset=1e-8, first_ratio=1, lags=True),
    }
)


class SmoothnessState(NamedTuple):
    """Steps so far, the parameters before the last one, its η, and θ, its η over that before."""

    count: Int[Array, ""]
    previous: PyTree
    eta: Float[Array, ""]
    theta: Float[Array, ""]


def smoothness_adaptive(
    initial_rate: optax.ScalarOrSchedule = 0.05, *, form: str = "paper"
) -> optax.GradientTransformationExtraArgs:
    """SA-SAM: w ← w - η ∇L(w + √η g/‖g‖), with η from how much the gradient changed along the last step.

        η_t = min{‖w_t - w_{t-1}‖ / (κ ‖∇L(w_t) - ∇L(w_{t-1})‖ + o), √(1 + γ θ_{t-1}) η_{t-1}}
        θ_t = η_t / η_{t-1}

    with all gradients of the batch of step t: `update` is given the one at w_t and takes two more by
    `grad_fn`. There is no rate, radius, decay or schedule to set; it is a whole optimizer, and no direction
    for another. It is not free of scale: of a loss times 9 the radius is a third. Clip nothing before it,
    which would clip one of the two gradients that are compared.

    In the paper's form κ = 2, γ = 1, o = 0 and θ₀ = ∞: on ½ a ‖w‖² η = 1/(2a) from the first step measured,
    and |w| ends at ρ/3. In the valley of Rosenbrock's function it ends short of the minimum, in a cycle where
    the curvature is 465 and not 1002. The published code has κ = 1, γ = 0.02, o = 1e-8, θ₀ = 1, and the
    radius √η_{t-1}: there η grows by no more than 1 % a step, towards 1/a. While no quotient is finite, as
    on a linear loss, η stays at `initial_rate`.

    Args:
      initial_rate: η of the first step.
      form: "paper", or "published" for that of the published code.

    Raises:
      ValueError: `initial_rate` is not positive, or a schedule; `form` is another; at init, `params` are a
        masked part; or, in an update, `params` or `grad_fn` are missing.
    """
    if callable(initial_rate):
        raise ValueError("initial_rate must be a number, got a schedule: the method finds the others itself")
    check_positive("initial_rate", initial_rate)
    check_choice("form", form, tuple(_CONSTANTS))
    constants = _CONSTANTS[form]

    def init(params):
        check_whole(params, "smoothness_adaptive")
        eta = jnp.array(initial_rate, dtype=float)
        theta = jnp.full_like(eta, constants.first_ratio)
        return SmoothnessState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params), eta, theta)

    def update(updates, state, params=None, *, grad_fn=None, **extra):
        check_gradient_function(params, grad_fn, "smoothness_adaptive")
        # before the first step there are no previous parameters: at these, nothing is measured
        previous = jax.tree.map(lambda old, w: jnp.where(state.count == 0, w, old), state.previous, params)
        step = tree_norm(moved(params, previous, -1))
        change = tree_norm(moved(updates, grad_fn(previous), -1))
        eta, theta = _adapted(state, step, change, constants)
        radius = jnp.sqrt(state.eta if constants.lags else eta)
        gradient = grad_fn(ascended(params, updates, radius))
        stepped = jax.tree.map(lambda g: (-eta * g).astype(g.dtype), gradient)
        return stepped, SmoothnessState(optax.safe_increment(state.count), params, eta, theta)

    return optax.GradientTransformationExtraArgs(init, update)


def _adapted(
    state: SmoothnessState, step: Float[Array, ""], change: Float[Array, ""], constants: _Constants
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """η_t and θ_t, as they were where nothing can be measured yet."""
    divisor = constants.damping * change + constants.offset
    measured = (step > 0) & (divisor > 0)
    quotient = jnp.where(measured, step / jnp.where(measured, divisor, 1), math.inf)
    rate = jnp.minimum(quotient, jnp.sqrt(1 + constants.growth * state.theta) * state.eta)
    known = jnp.isfinite(rate) & (state.count > 0)
    return jnp.where(known, rate, state.eta), jnp.where(known, rate / state.eta, state.theta)
