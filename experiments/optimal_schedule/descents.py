"""The descents of the study and their certification; for float64 alone.

What differs between settings of one horizon is data, so that each program is compiled once a horizon.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PyTree

from experiments.optimal_schedule.config import MEAN_FIELD, Config, Setting
from schedules import Family
from schedules.descent import MINIMISERS, lbfgs
from schedules.fitting import best_scale, family_shape, family_starts, fit_shape, project_shape
from schedules.optimal import descend_schedule
from schedules.search import named_key
from workloads.linear_regression import expected_losses, modal_losses, power_law_spectrum

BASE_LRS = (0.05, 2.0)  # of the starts in a family, in the setting's unit
PROJECTION_EVALUATIONS = 200  # no recursion is run for these
SIDE_BY_SIDE = 4  # kernels whose recursions stay in a core's cache together

Row = Mapping[str, ArrayLike]
Run = Callable[[Row, PyTree], Mapping[str, Array]]


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


@functools.cache
def schedule_descent(stage: str, evaluations: int) -> Run:
    """(start, problem) → the best schedule by the minimiser of that name through the exact loss, or by L-BFGS
    through the mean field."""

    def run(row, posed):
        loss = posed.mean_field_loss if stage == MEAN_FIELD else posed.typical_loss
        found = descend_schedule(loss, row["start"], MINIMISERS.get(stage, lbfgs), evaluations)
        return {"loss": found.loss, "evaluations": found.evaluations, "rate": found.learning_rates}

    return run


@functools.cache
def family_descent(families: tuple[Family, ...], num_steps: int, evaluations: int) -> Run:
    """(family and start, problem) → the family's best member."""

    def run(row, posed):
        shape = _shape(families, num_steps, row["family"])
        end = fit_shape(shape, posed.typical_loss, row["start"], evaluations, lbfgs)
        return {
            "loss": jnp.exp(end.value),
            "evaluations": end.evaluations,
            "rate": jnp.exp(end.point[0]) * shape(end.point[1:]),
            "point": end.point,
        }

    return run


@functools.cache
def projection(families: tuple[Family, ...], num_steps: int) -> Run:
    """(family and start, schedule) → the member nearest to the schedule; its loss is the squared distance
    over the schedule's square."""

    def run(row, target):
        shape = _shape(families, num_steps, row["family"])
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


def certification(row: Row, posed: Problem) -> Mapping[str, Array]:
    """The exact losses of a schedule on every kernel."""
    losses = posed.final_losses(row["rate"])
    return {"loss": jnp.exp(jnp.mean(jnp.log(losses))), "kernel": losses}


def family_rows(setting: Setting, config: Config) -> Callable[[str, int], Row]:
    """(family, start) → the family's number, and the start of that number in it: the logarithm of a base
    learning rate, and angles, as many as the largest family has."""
    root = named_key(jax.random.key(config.seed), "family starts")
    base_lrs = tuple(setting.rate_unit * rate for rate in BASE_LRS)
    dims = 1 + max(len(family.space) for family in config.searched)
    starts = {
        family.name: np.asarray(
            family_starts(family, base_lrs, named_key(root, family.name), config.family_starts)
        )
        for family in config.searched
    }

    def row(family: str, start: int) -> Row:
        padded = np.resize(np.append(starts[family][start], np.zeros(dims)), dims)
        return {"family": config.families.index(family), "start": padded}

    return row


def _shape(families: tuple[Family, ...], num_steps: int, number: Int[Array, ""]) -> Callable[[Array], Array]:
    """(angles) → multipliers of the family of that number: one program serves all families."""

    def branch(family):
        return lambda angles: family_shape(family, num_steps)(angles[: len(family.space)])

    branches = [branch(family) for family in families]
    return lambda angles: jax.lax.switch(number, branches, angles)
