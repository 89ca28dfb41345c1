"""The programs of the study: descents and certifications, mapped over the devices; for float64 alone.

What differs between settings of one horizon is data, so that each program is compiled once a horizon.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.optimal_schedule.config import Config, Setting
from experiments.optimal_schedule.trials import MEAN_FIELD, Trial, as_metrics
from experiments.study.running.sweeping import Sweep
from schedules import Family
from schedules.descent import MINIMISERS, lbfgs
from schedules.fitting import best_scale, family_shape, family_starts, fit_shape, project_shape
from schedules.optimal import descend_schedule
from schedules.search import named_key
from workloads.linear_regression import expected_losses, modal_losses, power_law_spectrum

BASE_LRS = (0.05, 2.0)  # of the starts in a family, in the setting's unit
PROJECTION_EVALUATIONS = 200  # no recursion is run for these
SIDE_BY_SIDE = 4  # kernels whose recursions stay in a core's cache together

Run = Callable[[Mapping[str, Array], "Problem"], Mapping[str, Array]]


class Problem(NamedTuple):
    """What a descent needs to know of its setting."""

    bases: Float[Array, "kernels dim dim"]
    spectrum: Float[Array, "dim"]
    batch_size: Float[Array, ""]
    momentum: Float[Array, ""]

    def final_losses(self, learning_rates: Float[Array, "steps"]) -> Float[Array, "kernels"]:
        """The exact loss at the end, on each kernel."""

        def final_loss(basis):
            return modal_losses(learning_rates, self.spectrum, basis, self.batch_size, self.momentum)[-1]

        return jax.lax.map(final_loss, self.bases, batch_size=SIDE_BY_SIDE)

    def typical_loss(self, learning_rates: Float[Array, "steps"]) -> Float[Array, ""]:
        """The geometric mean over the kernels.

        The arithmetic mean is that of the rare kernels with a leading eigenvector near a coordinate axis,
        which are so unstable that it grows with the number of kernels that it is taken over.
        """
        return jnp.exp(jnp.mean(jnp.log(self.final_losses(learning_rates))))

    def mean_field_loss(self, learning_rates: Float[Array, "steps"]) -> Float[Array, ""]:
        return expected_losses(learning_rates, self.spectrum, self.batch_size)[-1]


def problem(setting: Setting, purpose: str, count: int, config: Config) -> Problem:
    """The setting, with `count` kernels whose eigenvectors are the same in all settings."""
    spectrum = power_law_spectrum(config.dimension, setting.exponent)
    key = named_key(jax.random.key(config.seed), purpose)
    bases = jax.random.orthogonal(key, config.dimension, (count,))
    return Problem(bases, spectrum, jnp.asarray(float(setting.batch_size)), jnp.asarray(setting.momentum))


def run_schedules(
    trials: Sequence[Trial], posed: Problem, config: Config, sweep: Sweep
) -> list[dict[str, float]]:
    """Descend over schedules from the start that each trial names, by the minimiser that their stage names
    through the exact loss, or by L-BFGS through the mean field."""
    stage, setting = trials[0].stage, trials[0].setting
    starts = config.starts(setting.num_steps)
    rows = {"start": setting.rate_unit * jnp.stack([starts[trial.name] for trial in trials])}
    return _swept(_schedule_run(stage, config.evaluations), rows, posed, sweep)


def run_families(
    trials: Sequence[Trial], posed: Problem, config: Config, sweep: Sweep
) -> list[dict[str, float]]:
    """Descend within the family, and from the start, that each trial names."""
    run = _family_run(config.searched, trials[0].setting.num_steps, config.family_evaluations)
    return _swept(run, _family_rows(trials, config), posed, sweep)


def run_projections(
    trials: Sequence[Trial], target: Float[np.ndarray, "steps"], config: Config, sweep: Sweep
) -> list[dict[str, float]]:
    """Descend to the member nearest to `target`, in the family and from the start that each trial names."""
    run = _projection_run(config.searched, len(target))
    return _swept(run, _family_rows(trials, config), jnp.asarray(target), sweep)


def run_certification(
    schedules: Float[np.ndarray, "runs steps"], posed: Problem, sweep: Sweep
) -> list[dict[str, float]]:
    """The exact losses of each schedule on every kernel."""
    return _swept(_certify, {"learning_rates": jnp.asarray(schedules)}, posed, sweep)


def _swept(run: Run, rows: Mapping[str, Array], shared, sweep: Sweep) -> list[dict[str, float]]:
    columns = sweep(run, rows, shared)
    return as_metrics(**{name: np.asarray(values) for name, values in columns.items()})


@functools.cache
def _schedule_run(stage: str, evaluations: int) -> Run:
    def run(row, posed):
        loss = posed.mean_field_loss if stage == MEAN_FIELD else posed.typical_loss
        found = descend_schedule(loss, row["start"], MINIMISERS.get(stage, lbfgs), evaluations)
        return {"loss": found.loss, "evaluations": found.evaluations, "rate": found.learning_rates}

    return run


@functools.cache
def _family_run(families: tuple[Family, ...], num_steps: int, evaluations: int) -> Run:
    def run(row, posed):
        shape = _shape_of(families, num_steps, row["family"])
        end = fit_shape(shape, posed.typical_loss, row["start"], evaluations, lbfgs)
        return {
            "loss": jnp.exp(end.value),
            "evaluations": end.evaluations,
            "rate": jnp.exp(end.point[0]) * shape(end.point[1:]),
            "point": end.point,
        }

    return run


@functools.cache
def _projection_run(families: tuple[Family, ...], num_steps: int) -> Run:
    def run(row, target):
        shape = _shape_of(families, num_steps, row["family"])
        end = project_shape(shape, target, row["start"][1:], PROJECTION_EVALUATIONS, lbfgs)
        multipliers = shape(end.point)
        base_lr = best_scale(target, multipliers)
        return {
            "loss": end.value,
            "evaluations": end.evaluations,
            "rate": base_lr * multipliers,
            "point": jnp.concatenate([jnp.log(base_lr)[None], end.point]),
        }

    return run


def _certify(row, posed):
    losses = posed.final_losses(row["learning_rates"])
    return {"loss": jnp.exp(jnp.mean(jnp.log(losses))), "kernel": losses}


def _shape_of(families: tuple[Family, ...], num_steps: int, which: Array):
    """(angles) → multipliers of the family of that number: one program serves all families."""

    def branch(family):
        return lambda angles: family_shape(family, num_steps)(angles[: len(family.space)])

    branches = [branch(family) for family in families]
    return lambda angles: jax.lax.switch(which, branches, angles)


def _family_rows(trials: Sequence[Trial], config: Config) -> dict[str, Array]:
    unit, root = trials[0].setting.rate_unit, named_key(jax.random.key(config.seed), "family starts")
    base_lrs = tuple(unit * rate for rate in BASE_LRS)
    dims = 1 + max(len(family.space) for family in config.searched)
    starts = {
        family.name: np.asarray(
            family_starts(family, base_lrs, named_key(root, family.name), config.family_starts)
        )
        for family in config.searched
    }
    padded = [np.resize(np.append(starts[t.name][t.start], np.zeros(dims)), dims) for t in trials]
    numbers = [config.families.index(trial.name) for trial in trials]
    return {"family": jnp.asarray(numbers), "start": jnp.asarray(np.stack(padded))}
