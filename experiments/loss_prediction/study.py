"""The study itself: fitted runs with their curves, then unseen shapes and proposals, all journaled."""

from collections.abc import Sequence
from pathlib import Path

import jax
from rich.console import Console

from experiments.loss_prediction.config import Config
from experiments.loss_prediction.findings import winners_json, write_report
from experiments.loss_prediction.results import Results, collect
from experiments.loss_prediction.trials import FIT, fitted_schedules, runs, unseen_schedules
from experiments.study.options.errors import raise_problems
from experiments.study.running.evaluation import Evaluate, RunTrials
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.segments import NOT_SAVED, Saving
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import device_problems, workload_of
from experiments.study.running.sweeping import Sweep
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.shape_runs import ShapeRunner
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    saving: Saving = NOT_SAVED,
    console: Console | None = None,
) -> Results:
    """Make the study, or go on with the one in `folder`; write its findings, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      saving: when runs are saved on the way; without effect on the results.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve, and nothing was trained; or a
        fitted run diverged.
    """
    own = workload
    workload, problems = workload_of(config, own)
    raise_problems([*problems, *device_problems(devices)])
    unseen_schedules(config)  # whether there are as many of each family
    opened = open_study(folder, config, problems, own=own, devices=devices, saving=saving, console=console)
    with opened as study:

        def evaluate_with(chunk_runs: int, curve_steps: Sequence[int] = ()) -> Evaluate:
            runner = _runner(config, workload, study.sweep, chunk_runs, curve_steps)
            return study.evaluator(
                lambda sweep, capacity: runner, config.metric, chunk_runs, config.vectorize
            )

        evaluate_curves = evaluate_with(config.fit_replicates, config.curve_steps)
        for schedule in fitted_schedules(config):
            evaluate_curves(runs(schedule, FIT, config.fit_replicates, config))
        return _conclude(config, study, evaluate_with(config.num_shapes))


def redraw(folder: str | Path) -> Results:
    """Write the findings, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of loss prediction.
    """
    return redraw_from_journal(folder, "a study of loss prediction", Config, _conclude)


def _runner(
    config: Config, workload: Workload, sweep: Sweep, chunk_runs: int, curve_steps: Sequence[int]
) -> RunTrials:
    return ShapeRunner(
        workload,
        lambda schedule: OPTIMIZERS[config.optimizer].build(schedule, 0.0),
        jax.random.key(config.seed),
        sweep,
        batch_size=config.batch_size,
        capacity=chunk_runs,
        vectorize=config.vectorize,
        curve_steps=curve_steps,
    )


def _conclude(config: Config, study: Runs, evaluate: Evaluate) -> Results:
    return publish(collect(config, study, evaluate), study, winners_json, write_report)
