"""The investigation itself: measured paths, then the schedule they prescribe against searched ones."""

import itertools
from pathlib import Path

import jax
import numpy as np
import optax
from rich.console import Console

from experiments.path_geometry.config import AS_IT_IS, Config
from experiments.path_geometry.passes import path_runner, path_trials
from experiments.path_geometry.paths import Group, Paths, read_paths
from experiments.path_geometry.prescription import as_it_is, prescribed_family, prescribed_rates
from experiments.path_geometry.report import write_report
from experiments.path_geometry.results import Results, collect, winners_json
from experiments.study.running.evaluation import Evaluate, RunTrials
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import workload_of
from experiments.study.running.sweeping import Sweep
from experiments.study.training.shape_runs import ShapeRunner
from schedules.search import STRATEGIES, Once, SearchSpace, Winner, confirm, named_key, search_shapes
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    console: Console | None = None,
) -> Results:
    """Measure, or go on with what `folder` holds; write claims, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name. Its data
        is a NamedTuple with `train_labels`.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve, and nothing was trained; or
        nearly all runs of an optimizer diverged.
    """
    own = workload
    workload, problems = workload_of(config, own)
    opened = open_study(folder, config, problems, own=own, devices=devices, console=console)
    with opened as study:
        for optimizer, batch_size in itertools.product(config.optimizers, config.batch_sizes):
            trials = path_trials(optimizer, batch_size, config)
            runner = path_runner(optimizer, batch_size, config, workload, study.sweep)
            study.evaluator(lambda sweep, capacity: runner, config.metric, len(trials))(trials)
        runner = _schedule_runner(config, workload, study.sweep)
        evaluate = study.evaluator(lambda sweep, capacity: runner, config.metric, config.confirm_replicates)
        return _conclude(config, study, evaluate)


def redraw(folder: str | Path) -> Results:
    """Write the claims, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of path geometry.
    """
    return redraw_from_journal(folder, "a study of path geometry", Config, _conclude)


def contest(paths: Paths, config: Config, evaluate: Evaluate, once: Once) -> dict[str, Winner]:
    """The prescribed schedule, as it is and with its base learning rate tuned, and the searched families, all
    by the procedure of `schedules.search`."""
    group = Group("sgd", config.middle_batch, "true labels")
    steps = paths.series[group]["gradient_step"]
    rates = np.array(once("prescribed rates", lambda: prescribed_rates(steps).tolist()))
    family = prescribed_family(rates, config.probe_every, config.num_steps)
    key = named_key(jax.random.key(config.seed), "schedules")
    spaces = [SearchSpace(one, config.learning_rate_range) for one in (*config.searched, family)]
    found = search_shapes(spaces, STRATEGIES["trust_region"], config.budget, key, evaluate, once)
    return found.winners | confirm({AS_IT_IS: as_it_is(rates, family)}, config.budget, evaluate)


def _schedule_runner(config: Config, workload: Workload, sweep: Sweep) -> RunTrials:
    return ShapeRunner(
        workload,
        optax.sgd,
        jax.random.key(config.seed),
        sweep,
        batch_size=config.middle_batch,
        capacity=config.confirm_replicates,
    )


def _conclude(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    paths = read_paths(runs.journal, config)
    results = collect(paths, contest(paths, config, evaluate, runs.once), config, runs.journal)
    return publish(results, runs, winners_json, write_report)
