"""The laws of this study: fitted on measured curves, and the schedules that they would rather have."""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from experiments.loss_prediction.config import Config
from experiments.loss_prediction.shapes import learning_rates, rate_at
from schedules import FAMILIES
from schedules.loss_law import MultiPowerLaw, final_losses, predicted_losses
from schedules.loss_law_fit import fit_law
from schedules.search import Candidate, Once, named_key

AS_PUBLISHED, WITH_WARMUP = "law", "law with warm-up"
COUNTS_WARMUP: Mapping[str, bool] = MappingProxyType({AS_PUBLISHED: False, WITH_WARMUP: True})

DIGITS = 5  # schedules of equal sums differ in later ones, by rounding alone
PROPOSED = FAMILIES["two_point_spline"]
PROPOSAL_STARTS, PROPOSAL_STEPS, PROPOSAL_RATE = 32, 300, 0.05


class Curves(NamedTuple):
    """What the laws are fitted on: of every run the median over seeds of its loss after so many updates."""

    schedules: Sequence[Candidate]
    steps: Int[np.ndarray, "points"]
    losses: Float[np.ndarray, "runs points"]


class FittedLaw(NamedTuple):
    """A law, in float64.

    Attributes:
      constants: as fitted.
      count_warmup: whether it counts the rises of the warm-up.
      error: the root mean square of log(predicted / measured) on the curves.
      losses: what it says of them.
    """

    constants: MultiPowerLaw
    count_warmup: bool
    error: float
    losses: Float[np.ndarray, "runs points"]


def fitted_law(curves: Curves, count_warmup: bool, config: Config, once: Once) -> FittedLaw:
    """The law that fits the curves best."""
    rates = learning_rates(curves.schedules, config)
    key = named_key(jax.random.key(config.seed), "law")

    def fit() -> dict[str, Any]:
        fitted_on = jnp.asarray(rates), jnp.asarray(curves.losses), jnp.asarray(curves.steps)
        law, error = fit_law(*fitted_on, key, count_warmup=count_warmup)
        return {"constants": [float(constant) for constant in law], "error": float(error)}

    with jax.enable_x64(True):
        fitted = once(f"law, warm-up counted: {count_warmup}", fit)
        law = MultiPowerLaw(*map(np.float64, fitted["constants"]))
        losses = _curves(law, jnp.asarray(rates), jnp.asarray(curves.steps), count_warmup)
        return FittedLaw(law, count_warmup, fitted["error"], np.asarray(losses))


def predicted_finals(
    law: FittedLaw, schedules: Sequence[Candidate], config: Config
) -> Float[np.ndarray, "schedules"]:
    """What the law says of the end of every schedule, in the digits that float32's learning rates allow."""
    rates = learning_rates(schedules, config)
    with jax.enable_x64(True):
        losses = np.asarray(final_losses(law.constants, jnp.asarray(rates), count_warmup=law.count_warmup))
    return np.array([float(f"{loss:.{DIGITS}g}") for loss in losses])


def proposal(law: FittedLaw, config: Config, once: Once) -> Candidate:
    """The two-point spline, with a peak in the fitted range, of which the law predicts the lowest loss.

    Found by Adam on the unconstrained coordinates of the unit cube of shape parameters and log learning
    rate, from many starts.
    """
    key = named_key(jax.random.key(config.seed), "proposal")
    number = 2 * config.shapes + int(law.count_warmup)  # the unseen shapes come before

    def lowest() -> dict[str, Any]:
        with jax.enable_x64(True):
            starts = jax.random.normal(key, (PROPOSAL_STARTS, len(PROPOSED.space) + 1), jnp.float64)
            rates = rate_at(0, config), rate_at(1, config)
            params, rate = _lowest(law.constants, law.count_warmup, starts, *rates, config.num_steps)
        return {
            "params": {name: float(np.float32(params[name])) for name in PROPOSED.space},
            "base_lr": float(rate),
        }

    return Candidate(PROPOSED, number, **once(f"proposal {number}", lowest))


@jax.jit
def _curves(law, learning_rates, steps, count_warmup):
    def curve(rates):
        return predicted_losses(law, rates, steps, count_warmup=count_warmup)

    return jax.vmap(curve)(learning_rates)


@functools.partial(jax.jit, static_argnames="num_steps")
def _lowest(law: MultiPowerLaw, count_warmup, starts, smallest, largest, num_steps: int):
    """The parameters and the learning rate of the lowest predicted loss."""

    def schedule_at(coordinates):
        point = jax.nn.sigmoid(coordinates)
        params = {name: values[0] for name, values in PROPOSED.from_unit(point[None, :-1]).items()}
        return params, smallest * (largest / smallest) ** point[-1]

    def loss(coordinates):
        params, rate = schedule_at(coordinates)
        rates = rate * PROPOSED.multipliers(params, num_steps)
        return final_losses(law, rates[None], count_warmup=count_warmup)[0]

    def descend(start):
        def step(state, _):
            coordinates, moments = state
            updates, moments = adam.update(jax.grad(loss)(coordinates), moments)
            return (optax.apply_updates(coordinates, updates), moments), None

        (found, _), _ = jax.lax.scan(step, (start, adam.init(start)), length=PROPOSAL_STEPS)
        return found, loss(found)

    adam = optax.adam(PROPOSAL_RATE)
    found, losses = jax.vmap(descend)(starts)
    return schedule_at(found[jnp.argmin(losses)])
