"""The law in this study: fitted on the journal's curves, and the schedule that it would rather have."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int

from experiments.loss_prediction.config import Config
from experiments.loss_prediction.trials import FIT, Schedule, fitted_schedules, learning_rates, rate_at
from experiments.study.choices import StudyError
from experiments.study.journal import Journal
from experiments.study.shape_runs import curve_metric
from experiments.study.tables import median_or_worse
from schedules import FAMILIES
from schedules.loss_law import MultiPowerLaw, final_losses, predicted_losses
from schedules.loss_law_fit import fit_law
from schedules.search import Shape, named_key

PROPOSED_FAMILY = "two_point_spline"
PROPOSED_POOL = 2
PROPOSAL_STARTS, PROPOSAL_STEPS, PROPOSAL_RATE = 32, 300, 0.05


class FittedCurves(NamedTuple):
    """The law, and what it was fitted on.

    Attributes:
      law: its constants, in float64.
      error: the root mean square of log(predicted / measured).
      schedules: of the fitted runs.
      steps: after how many updates they were evaluated.
      measured: the median over seeds of each one's loss there.
      predicted: what the law says of the same.
    """

    law: MultiPowerLaw
    error: float
    schedules: Sequence[Schedule]
    steps: Int[np.ndarray, "points"]
    measured: Float[np.ndarray, "runs points"]
    predicted: Float[np.ndarray, "runs points"]


def fitted_curves(config: Config, journal: Journal) -> FittedCurves:
    """Fit the law on the journal's curves. Raises StudyError where one of them diverged."""
    schedules, steps = fitted_schedules(config), np.array(config.curve_steps)
    records = journal.metrics(FIT)
    measured = np.array(
        [
            [_median(records, schedule, curve_metric(config.metric, step), config) for step in steps]
            for schedule in schedules
        ]
    )
    for schedule, curve in zip(schedules, measured, strict=True):
        if not np.isfinite(curve).all():
            raise StudyError(
                f"largest_rate: at least half of the runs of {schedule.shape.family.name} at"
                f" {schedule.base_lr:g} diverged, and the law needs whole curves; got {config.largest_rate}."
            )
    key = named_key(jax.random.key(config.seed), "law")
    rates = learning_rates(schedules, config)
    with jax.enable_x64(True):
        law, error = fit_law(jnp.asarray(rates), jnp.asarray(measured), jnp.asarray(steps), key)
        predict = jax.vmap(predicted_losses, in_axes=(None, 0, None))
        predicted = np.asarray(predict(law, jnp.asarray(rates), jnp.asarray(steps)))
    return FittedCurves(law, float(error), schedules, steps, measured, predicted)


def predicted_finals(
    law: MultiPowerLaw, schedules: Sequence[Schedule], config: Config
) -> Float[np.ndarray, "schedules"]:
    """What the law says of the end of every schedule."""
    with jax.enable_x64(True):
        return np.asarray(final_losses(law, jnp.asarray(learning_rates(schedules, config))))


def proposal(law: MultiPowerLaw, config: Config) -> Schedule:
    """The two-point spline, with a peak in the fitted range, of which the law predicts the lowest loss.

    Adam on the unconstrained coordinates of the unit cube of shape parameters and log learning rate, from
    many starts.
    """
    family = FAMILIES[PROPOSED_FAMILY]

    def schedule_at(point):
        params = {name: values[0] for name, values in family.from_unit(point[None, :-1]).items()}
        return params, rate_at(point[-1], config)

    def loss(coordinates):
        params, rate = schedule_at(jax.nn.sigmoid(coordinates))
        return final_losses(law, (rate * family.multipliers(params, config.num_steps))[None])[0]

    def descend(start):
        def step(state, _):
            coordinates, moments = state
            updates, moments = adam.update(jax.grad(loss)(coordinates), moments)
            return (optax.apply_updates(coordinates, updates), moments), None

        (found, _), _ = jax.lax.scan(step, (start, adam.init(start)), length=PROPOSAL_STEPS)
        return found, loss(found)

    adam = optax.adam(PROPOSAL_RATE)
    key = named_key(jax.random.key(config.seed), "proposal")
    with jax.enable_x64(True):
        starts = jax.random.normal(key, (PROPOSAL_STARTS, len(family.space) + 1), jnp.float64)
        found, losses = jax.jit(jax.vmap(descend))(starts)
        params, rate = schedule_at(jax.nn.sigmoid(found[jnp.argmin(losses)]))
    shape = Shape(family, 0, {name: float(np.float32(value)) for name, value in params.items()})
    return Schedule(shape, float(rate), PROPOSED_POOL)


def _median(records, schedule: Schedule, name: str, config: Config) -> float:
    trials = schedule.trials(FIT, config.fit_replicates)
    return median_or_worse([records[trial.identity][name] for trial in trials])
