"""Fitting the multi-power law to the loss curves of a few runs."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from schedules.loss_law import MultiPowerLaw, predicted_losses

HUBER_DELTA = 1e-3  # of log L, the paper's
LARGEST_ERROR = 5.0  # of log L: the logarithm of a prediction needs it above some share of what was measured
LARGEST_MOVE = 1.0  # of the logarithm of a constant, in one iteration
LEAST_DAMPING, MOST_DAMPING = 1e-6, 1e6

# Starts are log-uniform in these intervals, in units of the curves: the lowest loss, the largest learning
# rate, the largest sum of a run's learning rates.
START = MultiPowerLaw(
    L0=(0.01, 1.0),
    A=(0.03, 3.0),
    alpha=(0.1, 2.0),
    B=(0.01, 3.0),
    beta=(0.1, 2.0),
    gamma=(0.1, 1.0),
    C=(1.0, 1000.0),
)


class Fit(NamedTuple):
    """A fitted law, and the root mean square of log(predicted / measured) where it was fitted."""

    law: MultiPowerLaw
    error: Float[Array, ""]


class _Units(NamedTuple):
    loss: Float[Array, ""]
    rate: Float[Array, ""]
    total: Float[Array, ""]


def fit_law(
    learning_rates: Float[Array, "runs steps"],
    losses: Float[Array, "runs points"],
    num_updates: Int[Array, "points"],
    key: PRNGKeyArray,
    *,
    count_warmup: bool = False,
    starts: int = 32,
    iterations: int = 100,
) -> Fit:
    """The law that fits the curves best, of those found from many starts.

    Minimises the sum of the Huber losses of log(predicted / measured) over the logarithms of the constants,
    by the steps of Levenberg and Marquardt. Invariant to the units of losses and learning rates; computes in
    the dtype of the losses, float64 being the better for it; other numbers compile nothing again. The
    predictions may be well determined where the constants are not.

    Args:
      learning_rates: a run in each row.
      losses: what each run measured, positive.
      num_updates: after how many updates, the same for all runs.
      key: what the starts are drawn with.
      count_warmup: as in `predicted_losses`.
      starts: how many there are; all are followed side by side.
      iterations: steps from each.

    Raises:
      ValueError: something is not as described, or was measured before any learning rate was positive.
    """
    _check(learning_rates, losses, num_updates, starts, iterations)
    learning_rates = learning_rates.astype(losses.dtype)
    return _fit(learning_rates, losses, num_updates, key, count_warmup, starts, iterations)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _fit(learning_rates, losses, num_updates, key, count_warmup, starts: int, iterations: int) -> Fit:
    totals = jnp.sum(learning_rates, axis=1)
    units = _Units(jnp.min(losses), jnp.max(learning_rates), jnp.max(totals))

    def errors(logs):
        law = _in_units(logs, units)
        predict = functools.partial(predicted_losses, law, num_updates=num_updates, count_warmup=count_warmup)
        predicted = jax.vmap(predict)(learning_rates)
        return jnp.log(jnp.maximum(predicted / losses, jnp.exp(-LARGEST_ERROR))).ravel()

    low, high = jnp.log(jnp.asarray(START, losses.dtype)).T
    drawn = jax.random.uniform(key, (starts, len(low)), losses.dtype, low[None, :], high[None, :])
    found, costs = jax.vmap(lambda start: _descend(errors, start, iterations))(drawn)
    best = found[jnp.argmin(costs)]
    return Fit(_in_units(best, units), jnp.sqrt(jnp.mean(errors(best) ** 2)))


def _in_units(logs: Float[Array, "constants"], units: _Units) -> MultiPowerLaw:
    """The law of the constants whose logarithms are given in units of the curves."""
    law = MultiPowerLaw(*jnp.exp(logs))
    return law._replace(
        L0=law.L0 * units.loss,
        A=law.A * units.loss * units.total**law.alpha,
        B=law.B * units.loss / units.rate,
        C=law.C * units.rate**law.gamma / units.total,
    )


def _descend(
    errors: Callable[[Array], Array], start: Float[Array, "constants"], iterations: int
) -> tuple[Float[Array, "constants"], Float[Array, ""]]:
    """Levenberg and Marquardt's steps towards the least sum of Huber losses: where it ended, and the sum.

    An error beyond δ counts with the weight δ/|error|, which makes the gradient that of the Huber loss.
    """

    def step(state, _):
        logs, cost, damping = state
        e, jacobian = errors(logs), jax.jacfwd(errors)(logs)
        weighted = jacobian * (HUBER_DELTA / jnp.maximum(jnp.abs(e), HUBER_DELTA))[:, None]
        curvature = weighted.T @ jacobian
        diagonal = jnp.diag(curvature)
        least = jnp.finfo(e.dtype).eps * jnp.max(diagonal)  # a constant may have no effect at all
        damped = curvature + jnp.diag(damping * diagonal + least)
        move = jnp.clip(jnp.linalg.solve(damped, weighted.T @ e), -LARGEST_MOVE, LARGEST_MOVE)
        new = _huber_sum(errors(logs - move))
        better = new < cost
        damping = jnp.clip(jnp.where(better, damping / 3, damping * 2), LEAST_DAMPING, MOST_DAMPING)
        return (jnp.where(better, logs - move, logs), jnp.where(better, new, cost), damping), None

    state = start, _huber_sum(errors(start)), jnp.ones((), start.dtype)
    (found, cost, _), _ = jax.lax.scan(step, state, length=iterations)
    return found, cost


def _huber_sum(errors: Float[Array, "errors"]) -> Float[Array, ""]:
    size = jnp.abs(errors)
    inner = jnp.minimum(size, HUBER_DELTA)
    return jnp.sum(inner * (size - inner / 2))


def _check(
    learning_rates: Float[Array, "runs steps"],
    losses: Float[Array, "runs points"],
    num_updates: Int[Array, "points"],
    starts: int,
    iterations: int,
) -> None:
    learning_rates, losses, num_updates = map(np.asarray, (learning_rates, losses, num_updates))
    num_steps = learning_rates.shape[1]
    for name, value in (("starts", starts), ("iterations", iterations)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not np.all((learning_rates >= 0) & np.isfinite(learning_rates)):
        raise ValueError("learning_rates must be finite and not negative")
    if not np.all((losses > 0) & np.isfinite(losses)):
        raise ValueError("losses must be positive and finite: leave out runs that diverged")
    if not np.all((num_updates >= 1) & (num_updates <= num_steps)):
        got = num_updates.tolist()
        raise ValueError(f"num_updates must lie in [1, {num_steps}], the number of steps, got {got}")
    first = int(np.min(num_updates))
    if not np.all(np.any(learning_rates[:, :first] > 0, axis=1)):
        raise ValueError(f"num_updates must begin when every run had a positive learning rate, got {first}")
