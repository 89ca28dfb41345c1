"""The search itself: a workload's runs, journaled, under the procedure of `schedules.search`."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

import workloads
from experiments.shape_search.config import Config
from experiments.shape_search.report import write_report
from experiments.shape_search.results import Results, collect, winners_json
from experiments.study.choices import StudyError
from experiments.study.evaluation import UnfinishedStudy, journaled, remembered
from experiments.study.folder import StudyFolder, open_folder, read_config, write_atomically
from experiments.study.journal import Journal
from experiments.study.optimizers import OPTIMIZERS
from experiments.study.progress import Progress
from experiments.study.setup import check_workload, load_workload, study_mesh
from schedules.search import STRATEGIES, Trial, named_key, search_shapes
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    chunk_runs: int = 256,
    console: Console | None = None,
) -> Results:
    """Search, or go on with the search in `folder`; write its winners, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; without effect on the results.
      chunk_runs: runs computed and recorded together; without effect on the results.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    workload = load_workload(config.workload, config.workload_options) if workload is None else workload
    check_workload(workload, config.metric, config.batch_size, config.num_steps)
    if chunk_runs < 1:
        raise StudyError(f"chunk_runs: must be at least 1, got {chunk_runs}.")
    mesh = study_mesh(devices)
    study = open_folder(Path(folder), dataclasses.asdict(config))
    progress = Progress(config.planned_runs, console or Console(), quiet=console is None)
    with Journal(study.journal) as journal, progress:
        runner = trial_runner(config, workload, mesh)
        evaluate = journaled(journal, runner, config.metric, chunk_runs, progress)
        return _conclude(config, study, journal, evaluate)


def redraw(folder: str | Path) -> Results:
    """Write the winners, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished shape search.
    """
    study = StudyFolder(Path(folder))
    content = read_config(study)
    try:
        config = Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in content.items()})
    except TypeError as error:
        raise StudyError(f"{study.config} is not the config of a shape search: {error}.") from None
    if not study.journal.exists():
        raise StudyError(f"{folder} holds no journal: run the study first.")
    with Journal(study.journal) as journal:
        try:
            return _conclude(config, study, journal, remembered(journal))
        except UnfinishedStudy as error:
            raise StudyError(f"{folder} is not finished ({error}): run the same study again.") from None


def trial_runner(
    config: Config, workload: Workload, mesh: Mesh
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(trials) → the final metrics of each, computed by one compiled program over the mesh."""
    root = jax.random.key(config.seed)
    key_data: dict[tuple[str, int], np.ndarray] = {}

    def one_run(row, data):
        keys = workloads.run_keys(jax.random.wrap_key_data(row["key_data"]))

        def optimizer(schedule):
            return OPTIMIZERS[config.optimizer].build(schedule, config.weight_decay)

        finished = workloads.train(
            workload, data, optimizer, row["learning_rates"], keys, batch_size=config.batch_size
        )
        return {name: values[-1] for name, values in finished.metrics.items()}

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        for trial in trials:
            if (trial.stage, trial.replicate) not in key_data:
                key_data[trial.stage, trial.replicate] = np.asarray(jax.random.key_data(trial.key(root)))
        inputs = {
            "learning_rates": np.stack([trial.learning_rates(config.num_steps) for trial in trials]),
            "key_data": np.stack([key_data[trial.stage, trial.replicate] for trial in trials]),
        }
        metrics = workloads.sweep(one_run, inputs, workload.data, mesh=mesh, vectorize=config.vectorize)
        columns = {name: np.asarray(values).tolist() for name, values in metrics.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    return run_trials


def _conclude(config: Config, study: StudyFolder, journal: Journal, evaluate) -> Results:
    key = named_key(jax.random.key(config.seed), "search")
    findings: Findings = search_shapes(
        config.searched, STRATEGIES[config.strategy], config.grid, config.budget, key, evaluate
    )
    results = collect(findings, config, journal)
    write_atomically(study.winners, json.dumps(winners_json(results), indent=2) + "\n")
    write_report(results, study)
    return results
