"""The study itself: every run, journaled, and what they show."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from rich.console import Console
from threadpoolctl import threadpool_limits

import workloads
from experiments.generalization.config import Config
from experiments.generalization.findings import winners_json, write_report
from experiments.generalization.measures import (
    Split,
    coarse,
    dense_criteria,
    draw_split,
    hidden_layer,
    network,
)
from experiments.generalization.results import Results, collect
from experiments.generalization.trials import MEASURE, Trial, groups, trials
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.session import open_study, publish
from experiments.study.running.sweeping import Sweep
from experiments.study.training.optimizers import OPTIMIZERS
from schedules.search import named_key
from workloads.images import ImageData


def run(
    config: Config,
    folder: str | Path,
    *,
    devices: int | None = None,
    console: Console | None = None,
) -> Results:
    """Make the study, or go on with the one in `folder`; write its findings, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the folder or the journal in it does not serve; nothing was trained.
    """
    data = coarse(workloads.load("digits").data)
    opened = open_study(folder, config, devices=devices, console=console)
    with opened as study:
        evaluate = study.evaluator(
            lambda sweep, capacity: trial_runner(config, data, study.sweep), config.score, config.chunk_runs
        )
        for group in groups(config):
            evaluate(group)
        return _conclude(config, study)


def redraw(folder: str | Path) -> Results:
    """Write the findings, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of generalisation.
    """
    return redraw_from_journal(folder, "a study of generalisation", Config, _conclude_again)


def trial_runner(
    config: Config, data: ImageData, sweep: Sweep
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(trials of one of the `groups`) → all measurements of each."""
    root = jax.random.key(config.seed)

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        ((stage, width, optimizer),) = {(t.stage, t.setting.width, t.setting.optimizer) for t in trials}
        inputs = {
            "learning_rate": np.array([trial.base_lr for trial in trials], np.float32),
            "train_size": np.array([trial.train_size for trial in trials]),
            "key_data": np.stack([np.asarray(jax.random.key_data(trial.key(root))) for trial in trials]),
        }
        with threadpool_limits(1, "blas"):  # devices are threads, which those of LAPACK would fight
            swept = functools.partial(sweep, data=data, capacity=config.chunk_runs)
            metrics, params = swept(_training(config, width, optimizer), inputs)
            if stage == MEASURE:
                metrics |= swept(_dense_measuring(config, width), {**inputs, "params": params})
            metrics = jax.tree.map(np.asarray, metrics)
        return [{name: float(values[row]) for name, values in metrics.items()} for row in range(len(trials))]

    return run_trials


@functools.cache  # the same object for the same program, so that it is compiled once
def _training(config: Config, width: int, optimizer: str) -> Callable[[PyTree, ImageData], PyTree]:
    """(row, data) → all measurements at the rungs, and the final parameters."""

    def train(row, data):
        split = _split(config, row, data)
        trained = workloads.train(
            network(hidden_layer(width), split, config.damping),
            split,
            lambda schedule: OPTIMIZERS[optimizer].build(schedule, 0.0),
            jnp.full(config.num_steps, row["learning_rate"]),
            workloads.run_keys(named_key(jax.random.wrap_key_data(row["key_data"]), "run")),
            batch_size=config.batch_size,
            evaluate_at=config.rungs,
        )
        metrics = {
            f"{name}@{step}": values[rung]
            for name, values in trained.metrics.items()
            for rung, step in enumerate(config.rungs)
        }
        return metrics, trained.params

    return train


@functools.cache
def _dense_measuring(config: Config, width: int) -> Callable[[PyTree, ImageData], PyTree]:
    """(row with parameters, data) → the criteria that need dense curvature, of the end of a run."""

    def measure(row, data):
        split = _split(config, row, data)
        criteria = dense_criteria(hidden_layer(width), row["params"], split, config.damping)
        return {f"{name}@{config.num_steps}": value for name, value in criteria.items()}

    return measure


def _split(config: Config, row: Mapping[str, PyTree], data: ImageData) -> Split:
    key = named_key(jax.random.wrap_key_data(row["key_data"]), "split")
    return draw_split(key, data, row["train_size"], config.largest_size, config.validation_size)


def _conclude(config: Config, runs: Runs) -> Results:
    return publish(collect(config, runs.journal), runs, winners_json, write_report)


def _conclude_again(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    evaluate(trials(config))  # raises where a run is missing
    return _conclude(config, runs)
