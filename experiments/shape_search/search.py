"""The search itself: a workload's runs, journaled, under the procedure of `schedules.search`."""

import dataclasses
import functools
import json
from pathlib import Path

import jax
import optax
from jax.sharding import Mesh
from rich.console import Console

import workloads
from experiments.shape_search.config import BASELINES, Config
from experiments.shape_search.report import write_report
from experiments.shape_search.results import Results, collect, winners_json
from experiments.study.choices import StudyError
from experiments.study.evaluation import Evaluate, journaled
from experiments.study.folder import StudyFolder, open_folder, write_atomically
from experiments.study.journal import Journal
from experiments.study.optimizers import OPTIMIZERS, with_independent_decay
from experiments.study.progress import Progress
from experiments.study.redraw import redraw_from_journal
from experiments.study.setup import check_workload, load_workload, study_mesh
from experiments.study.shape_runs import ShapeRunner
from schedules.search import STRATEGIES, check_winners, named_key, search_shapes, standings
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
      chunk_runs: runs computed and recorded together at most; without effect on the results.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    workload = load_workload(config.workload, config.workload_options) if workload is None else workload
    check_workload(workload, config.metric, config.batch_size, config.num_steps, config.evaluations)
    if chunk_runs < 1:
        raise StudyError(f"chunk_runs: must be at least 1, got {chunk_runs}.")
    mesh = study_mesh(devices, config.data_parallel)
    study = open_folder(Path(folder), dataclasses.asdict(config))
    progress = Progress(config.planned_runs, console or Console(), quiet=console is None)
    with Journal(study.journal) as journal, progress:
        runner = trial_runner(config, workload, mesh, chunk_runs)
        evaluate = journaled(journal, runner, config.metric, chunk_runs, progress)
        return _conclude(config, study, journal, evaluate)


def redraw(folder: str | Path) -> Results:
    """Write the winners, figures and report of a finished study again, without running anything.

    Raises StudyError where the folder holds no finished shape search.
    """
    return redraw_from_journal(folder, "a shape search", Config, _conclude)


def transformation(config: Config, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer that the schedule drives."""
    build = functools.partial(OPTIMIZERS[config.optimizer].build, **config.betas)
    if config.decay_mode == "independent":
        optimizer = with_independent_decay(build(schedule, 0.0), config.weight_decay)
    else:
        optimizer = build(schedule, config.weight_decay)
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def trial_runner(config: Config, workload: Workload, mesh: Mesh, chunk_runs: int) -> ShapeRunner:
    """(trials) → the metrics at the end of each, trained as the config says."""
    return ShapeRunner(
        workloads.with_compute_dtype(workload, config.precision),
        functools.partial(transformation, config),
        jax.random.key(config.seed),
        mesh,
        batch_size=config.batch_size,
        capacity=chunk_runs,
        vectorize=config.vectorize,
        evaluations=config.evaluations,
        training={"microbatches": config.microbatches, "average_decay": config.average_decay},
    )


def _conclude(config: Config, study: StudyFolder, journal: Journal, evaluate: Evaluate) -> Results:
    key = named_key(jax.random.key(config.seed), "search")
    findings = search_shapes(config.spaces, STRATEGIES[config.strategy], config.budget, key, evaluate)
    spaces = {space.family.name: space for space in config.spaces}
    ranked = standings(findings.winners, BASELINES, config.confidence)
    best = {standing.name: standing.winner for standing in ranked[: config.checked]}
    verdicts = check_winners(best, spaces, config.check_budget, named_key(key, "check"), evaluate)
    results = collect(findings, ranked, verdicts, config, journal)
    write_atomically(study.winners, json.dumps(winners_json(results), indent=2) + "\n")
    write_report(results, study)
    return results
