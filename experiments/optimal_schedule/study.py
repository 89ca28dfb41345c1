"""The study of best schedules: descend, fit and project families, certify; then conclude."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from experiments.optimal_schedule.config import Config
from experiments.optimal_schedule.descents import (
    problem,
    run_certification,
    run_families,
    run_projections,
    run_schedules,
)
from experiments.optimal_schedule.report import write_report
from experiments.optimal_schedule.results import Results, collect, winners_json
from experiments.optimal_schedule.trials import (
    CERTIFY,
    FAMILY,
    PROJECTION,
    Trial,
    all_trials,
    best_minimiser,
    candidates,
    lowest,
    read,
)
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.session import open_study, publish
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.journal import Journal


def run(
    config: Config, folder: str | Path, *, devices: int | None = None, console: Console | None = None
) -> Results:
    """Find the best schedules, or go on with what `folder` holds; write claims, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve, and nothing was run.
    """
    opened = open_study(folder, config, devices=devices, console=console)
    with opened as study, jax.enable_x64(True):
        for trials in all_trials(config):
            run_trials = partial(run_stage, config=config, journal=study.journal, sweep=study.sweep)
            study.evaluator(lambda sweep, capacity: run_trials, "loss", len(trials))(trials)
        return _conclude(config, study)


def redraw(folder: str | Path) -> Results:
    """Write the claims, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of best schedules.
    """

    return redraw_from_journal(folder, "a study of best schedules", Config, _conclude_finished)


def run_stage(
    trials: Sequence[Trial], config: Config, journal: Journal, sweep: Sweep
) -> list[dict[str, float]]:
    """Run trials of one stage in one setting."""
    stage, setting = trials[0].stage, trials[0].setting
    if stage == PROJECTION:
        target = lowest(read(journal, best_minimiser(journal, setting), setting)).learning_rates
        return run_projections(trials, target, config, sweep)
    if stage == CERTIFY:
        schedules = candidates(journal, setting, config)
        rates = np.stack([schedules[trial.name].learning_rates for trial in trials])
        fresh = problem(setting, "fresh kernels", config.fresh_kernels, config)
        return run_certification(rates, fresh, sweep)
    posed = problem(setting, "training kernels", config.training_kernels, config)
    if stage == FAMILY:
        return run_families(trials, posed, config, sweep)
    return run_schedules(trials, posed, config, sweep)


def _conclude_finished(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    with jax.enable_x64(True):
        for trials in all_trials(config):
            evaluate(trials)
        return _conclude(config, runs)


def _conclude(config: Config, runs: Runs) -> Results:
    return publish(collect(config, runs.journal), runs, winners_json, write_report)
