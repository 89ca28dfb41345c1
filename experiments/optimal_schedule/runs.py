"""The runs of a study of best schedules: descents, those to projections from what the ones before them found,
then the certification of all."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PyTree

from experiments.optimal_schedule import descents
from experiments.optimal_schedule.config import VARIED, Config, Setting
from experiments.optimal_schedule.gaps import Found, Member, Outcome, gap, median_gap, projected
from experiments.study.running.evaluation import RunTrials
from experiments.study.running.runs import Runner, Runs
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.journal import Identity, Journal, label
from schedules import FAMILIES
from schedules.descent import MINIMISERS
from schedules.fitting import shape_params

FAMILY, PROJECTION, CERTIFY = "family", "projection", "certify"


class Trial(NamedTuple):
    """A descent, or the losses of one schedule on the fresh kernels.

    Attributes:
      stage: a search over schedules, or one of the stages above, which come after these.
      setting: the problem.
      name: the start, or the family, or the schedule that is certified.
      start: which start, where there are several of that name.
    """

    stage: str
    setting: Setting
    name: str
    start: int = 0

    @property
    def identity(self) -> Identity:
        setting = self.setting
        return self.stage, self.name, setting.number, label(setting=setting.label), self.start

    @property
    def base_lr(self) -> float:
        return self.setting.rate_unit

    @property
    def params(self) -> Mapping[str, float]:
        return {name: getattr(self.setting, name) for name in VARIED}


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was sought.
      outcomes: by setting, the base setting first.
      seconds: how long the runs took together.
    """

    config: Config
    outcomes: tuple[Outcome, ...]
    seconds: float


def conclude(config: Config, runs: Runs) -> Results:
    """Descend, fit and project families, certify: setting by setting."""
    for trials in all_trials(config):
        make = partial(runner, trials[0].stage, trials[0].setting, config, runs.journal)
        runs.evaluator(make, "loss", len(trials))(trials)
    outcomes = tuple(outcome(runs.journal, setting, config) for setting in config.settings)
    return Results(config, outcomes, runs.journal.seconds())


def all_trials(config: Config) -> list[list[Trial]]:
    """All runs of the study, those of a stage in a setting together, in the order they depend on."""
    return [trials for setting in config.settings for trials in _setting_trials(setting, config)]


def runner(stage: str, setting: Setting, config: Config, journal: Journal) -> Runner:
    """What runs the trials of a stage in a setting."""
    run, row, shared = _program(stage, setting, config, journal)

    def trial_runner(sweep: Sweep, capacity: int) -> RunTrials:
        def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
            rows = [row(trial.name, trial.start) for trial in trials]
            inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
            columns = sweep(run, inputs, shared, capacity=max(capacity, len(trials)))
            return as_metrics(jax.tree.map(np.asarray, columns))

        return run_trials

    return trial_runner


def as_metrics(columns: Mapping[str, Float[np.ndarray, "runs *length"]]) -> list[dict[str, float]]:
    """A dictionary a run; an array of several values a run becomes NAME@0, NAME@1, …"""
    flat = {}
    for name, values in columns.items():
        several = {f"{name}@{place}": column for place, column in enumerate(np.moveaxis(values, -1, 0))}
        flat |= several if values.ndim > 1 else {name: values}
    runs = zip(*(values.tolist() for values in flat.values()), strict=True)
    return [dict(zip(flat, run, strict=True)) for run in runs]


def series(metrics: Mapping[str, float], name: str) -> Float[np.ndarray, "length"]:
    """The metrics NAME@0, NAME@1, …, as an array; what is not finite has become +inf."""
    length = sum(key.startswith(f"{name}@") for key in metrics)
    values = np.array([metrics[f"{name}@{place}"] for place in range(length)])
    return np.where(np.isnan(values), np.inf, values)


def outcome(journal: Journal, setting: Setting, config: Config) -> Outcome:
    """What the journal holds of a setting."""
    schedules = certified(journal, setting, config)
    best = min(MINIMISERS, key=lambda name: schedules[name].loss)
    rows = (row for row in journal.rows(CERTIFY) if row.number == setting.number)
    fresh = {row.group: series(row.metrics, "kernel") for row in rows}

    def member(family: str, name: str) -> Member:
        point = schedules[name].point[: 1 + len(FAMILIES[family].space)]
        params = shape_params(FAMILIES[family], jnp.asarray(point[1:]))
        losses = fresh[name], fresh[best], config.confidence
        return Member(params, math.exp(point[0]), gap(*losses), median_gap(*losses))

    return Outcome(
        setting,
        best,
        descents=read(journal, setting, *MINIMISERS),
        schedules=schedules,
        fresh=fresh,
        fits={family: member(family, family) for family in config.families},
        projections={family: member(family, projected(family)) for family in config.families},
    )


def certified(journal: Journal, setting: Setting, config: Config) -> dict[str, Found]:
    """Every schedule that is certified, by name."""
    fits, projections = (read(journal, setting, stage) for stage in (FAMILY, PROJECTION))
    return {
        **{stage: lowest(read(journal, setting, stage)) for stage in setting.searches},
        **{name: lowest(fits, name) for name in config.families},
        **{projected(name): lowest(projections, name) for name in config.families},
    }


def read(journal: Journal, setting: Setting, *stages: str) -> list[Found]:
    """What every descent of these stages found in a setting."""
    return [
        Found(row.group, row.score, series(row.metrics, "rate"), series(row.metrics, "point"))
        for stage in stages
        for row in journal.rows(stage)
        if row.number == setting.number
    ]


def lowest(candidates: Sequence[Found], name: str | None = None) -> Found:
    """The one of lowest loss, of those with that name unless None."""
    named = (candidate for candidate in candidates if name in (None, candidate.name))
    return min(named, key=lambda candidate: candidate.loss)


def _setting_trials(setting: Setting, config: Config) -> list[list[Trial]]:
    starts = config.starts(setting.num_steps)
    names = [*setting.searches, *config.families, *map(projected, config.families)]
    return [
        *([Trial(stage, setting, name) for name in starts] for stage in setting.searches),
        *(_family_trials(stage, setting, config) for stage in (FAMILY, PROJECTION)),
        [Trial(CERTIFY, setting, name) for name in names],
    ]


def _family_trials(stage: str, setting: Setting, config: Config) -> list[Trial]:
    """All families' first start, then all their second: whoever splits these splits the work evenly."""
    starts = range(config.family_starts)
    return [Trial(stage, setting, name, start) for start in starts for name in config.families]


def _program(
    stage: str, setting: Setting, config: Config, journal: Journal
) -> tuple[descents.Run, Callable[[str, int], descents.Row], PyTree]:
    """What computes a row; the row of a trial's name and start; what all rows share."""
    if stage == CERTIFY:
        schedules = certified(journal, setting, config)
        fresh = descents.problem(setting, "fresh kernels", config.fresh_kernels, config)
        return descents.certification, lambda name, _: {"rate": schedules[name].learning_rates}, fresh
    if stage == PROJECTION:
        target = lowest(read(journal, setting, *MINIMISERS)).learning_rates
        run = descents.projection(config.searched, setting.num_steps)
        return run, descents.family_rows(setting, config), target
    posed = descents.problem(setting, "training kernels", config.training_kernels, config)
    if stage == FAMILY:
        run = descents.family_descent(config.searched, setting.num_steps, config.family_evaluations)
        return run, descents.family_rows(setting, config), posed
    starts = config.starts(setting.num_steps)
    run = descents.schedule_descent(stage, config.evaluations)
    return run, lambda name, _: {"start": setting.rate_unit * starts[name]}, posed
