"""The comparison itself: a workload's runs, journaled, under the tuning procedure."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from rich.console import Console

import workloads
from experiments.optimizer_comparison.config import CONTENDERS, Config
from experiments.optimizer_comparison.report import write_report
from experiments.optimizer_comparison.results import Results, collect, winners_json
from experiments.study.evaluation import Evaluate, Runs
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.redraw import redraw_from_journal
from experiments.study.segments import NOT_SAVED, Saving
from experiments.study.session import open_study, publish
from experiments.study.setup import workload_of
from experiments.study.sweeping import Sweep
from experiments.study.tuning import CONFIRM, SCREEN, Trial, Tuned, tune
from workloads import Stages, Workload

TIMING_REPEATS = 5


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    saving: Saving = NOT_SAVED,
    console: Console | None = None,
) -> Results:
    """Compare, or go on with the comparison in `folder`; write its winners, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      saving: when runs are saved on the way; without effect on the results.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    own = workload
    workload, problems = workload_of(config, own)
    opened = open_study(folder, config, problems, own=own, devices=devices, saving=saving, console=console)
    with opened as study:
        tuned = {}
        for optimizer in config.compared:
            runner = trial_runner(optimizer, config, workload, study.sweep)
            evaluate = study.evaluator(runner, config.metric, config.budget.runs_per_rate)
            tuned[optimizer] = _tune(optimizer, config, evaluate)
        return _conclude(config, study, tuned, workload)


def redraw(folder: str | Path) -> Results:
    """Write the winners, figures and report of a finished comparison again, without running anything.

    Raises StudyError where the folder holds no finished optimizer comparison.
    """
    return redraw_from_journal(folder, "an optimizer comparison", Config, _conclude_again)


def trial_runner(
    optimizer: str, config: Config, workload: Workload, sweep: Sweep
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(trials) → the metrics of each at its end; in confirming runs the scored metric along the way too."""
    root = jax.random.key(config.seed)
    programs = {
        SCREEN: _measured(optimizer, config, workload, (config.num_steps,)),
        CONFIRM: _measured(optimizer, config, workload, config.curve_steps),
    }

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        (stage,) = {trial.stage for trial in trials}
        keys = [np.asarray(jax.random.key_data(trial.key(root))) for trial in trials]
        inputs = {
            "learning_rate": np.array([trial.setting.learning_rate for trial in trials], np.float32),
            "decay": np.array([trial.setting.decay for trial in trials], np.float32),
            "key_data": np.stack(keys),
        }
        metrics = sweep.staged(
            programs[stage],
            inputs,
            workload.data,
            num_steps=config.num_steps,
            capacity=max(config.budget.runs_per_rate, len(trials)),  # more may have been left half-way
        )
        metrics = jax.tree.map(np.asarray, metrics)
        ends = {name: values[:, -1] for name, values in metrics.items()}
        if stage == CONFIRM:
            curve = zip(config.curve_steps, metrics[config.metric].T, strict=True)
            ends |= {f"{config.metric}@{step}": values for step, values in curve}
        return [{name: float(values[row]) for name, values in ends.items()} for row in range(len(trials))]

    return run_trials


def step_seconds(tuned: Mapping[str, Tuned], config: Config, workload: Workload) -> dict[str, list[float]]:
    """Seconds a training step takes with each optimizer: all in turn, several times, on one device."""
    root = jax.random.key(config.seed)

    calls = {}
    for optimizer, found in tuned.items():
        setting = found.setting
        row = {
            "learning_rate": jnp.float32(setting.learning_rate),
            "decay": jnp.float32(setting.decay),
            "key_data": jax.random.key_data(root),
        }
        stages = _measured(optimizer, config, workload, (config.num_steps,))
        program = jax.jit(lambda row, data, stages=stages: stages(row, data).whole(config.num_steps))
        calls[optimizer] = program.lower(row, workload.data).compile(), row
    seconds: dict[str, list[float]] = {optimizer: [] for optimizer in tuned}
    for _ in range(TIMING_REPEATS):
        for optimizer, (program, row) in calls.items():
            begun = time.perf_counter()
            jax.block_until_ready(program(row, workload.data))
            seconds[optimizer].append((time.perf_counter() - begun) / config.num_steps)
    return seconds


def _measured(
    optimizer: str, config: Config, workload: Workload, evaluate_at: Sequence[int]
) -> Callable[[PyTree, PyTree], Stages]:
    """(row, data) → a run, to its metrics after these numbers of updates."""

    def stages(row, data):
        peak = row["learning_rate"]
        trained = workloads.trainer(
            workload,
            data,
            lambda schedule: OPTIMIZERS[optimizer].build(schedule, row["decay"] / peak),
            peak * config.multipliers,
            workloads.run_keys(jax.random.wrap_key_data(row["key_data"])),
            batch_size=config.batch_size,
            evaluate_at=evaluate_at,
        )
        return trained._replace(finish=lambda run: trained.finish(run).metrics)

    return stages


def _tune(optimizer: str, config: Config, evaluate: Evaluate) -> Tuned:
    return tune(optimizer, CONTENDERS[optimizer], config.budget, evaluate)


def _conclude_again(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    tuned = {optimizer: _tune(optimizer, config, evaluate) for optimizer in config.compared}
    return _conclude(config, runs, tuned, None)


def _conclude(config: Config, runs: Runs, tuned: Mapping[str, Tuned], workload: Workload | None) -> Results:
    timings = runs.once("timings", lambda: step_seconds(tuned, config, workload))
    return publish(collect(tuned, timings, config, runs.journal), runs, winners_json, write_report)
