"""The study itself: every variant tuned at every batch size, journaled, and what this shows."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.findings import winners_json
from experiments.critical_batch_size.measured import measured_curves
from experiments.critical_batch_size.report import write_report
from experiments.critical_batch_size.results import Results, collect
from experiments.critical_batch_size.trials import STEPS, Trial, group_name, trial_runner
from experiments.critical_batch_size.variants import Variant
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.session import open_study, publish
from experiments.study.running.setup import workload_of
from experiments.study.training import tuning
from experiments.study.training.tuning import Tuned, tune
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
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    own = workload
    workload, problems = workload_of(config, own)
    opened = open_study(folder, config, problems, own=own, devices=devices, console=console)
    with opened as study:
        tuned = {}
        for optimizer, batch_size in itertools.product(config.optimizers, config.batch_sizes):
            runner = trial_runner(optimizer, batch_size, config, workload, study.sweep)
            evaluate = study.evaluator(lambda sweep, capacity: runner, STEPS, config.chunk_runs)
            for variant in config.variants:
                if variant.optimizer == optimizer:
                    tuned[variant, batch_size] = _tune(variant, batch_size, config, evaluate)
        return _conclude(config, study, tuned)


def redraw(folder: str | Path) -> Results:
    """Write the claims, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished study of critical batch sizes.
    """
    return redraw_from_journal(folder, "a study of critical batch sizes", Config, _conclude_again)


def _tune(variant: Variant, batch_size: int, config: Config, evaluate: Evaluate) -> Tuned:
    def evaluate_tuned(trials: Sequence[tuning.Trial]) -> dict[tuning.Trial, float]:
        scores = evaluate([Trial(variant, batch_size, trial) for trial in trials])
        return {trial.tuned: score for trial, score in scores.items()}

    name = group_name(variant, batch_size)
    return tune(name, variant.centre(batch_size), config.budget, evaluate_tuned)


def _conclude_again(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    tuned = {
        (variant, batch_size): _tune(variant, batch_size, config, evaluate)
        for variant, batch_size in itertools.product(config.variants, config.batch_sizes)
    }
    return _conclude(config, runs, tuned)


def _conclude(config: Config, runs: Runs, tuned: Mapping[tuple[Variant, int], Tuned]) -> Results:
    results = collect(measured_curves(tuned, config, runs.journal), config, runs.journal)
    return publish(results, runs, winners_json, write_report)
