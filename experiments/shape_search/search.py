"""The search itself: a workload's runs, journaled, under the procedure of `schedules.search`."""

import functools
from pathlib import Path

import jax
import optax
from rich.console import Console

import workloads
from experiments.shape_search.config import BASELINES, Config
from experiments.shape_search.report import write_report
from experiments.shape_search.results import Results, collect, winners_json
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.redraw import redraw_from_journal
from experiments.study.running.runs import Runs
from experiments.study.running.segments import NOT_SAVED, Saving
from experiments.study.running.session import Session, open_study, publish
from experiments.study.running.setup import chunk_problems, workload_of
from experiments.study.running.sweeping import Sweep
from experiments.study.training.optimizers import OPTIMIZERS, with_independent_decay
from experiments.study.training.shape_runs import ShapeRunner
from schedules.search import STRATEGIES, check_winners, named_key, search_shapes, standings
from workloads import Workload


def run(
    config: Config,
    folder: str | Path,
    workload: Workload | None = None,
    *,
    devices: int | None = None,
    chunk_runs: int = 256,
    saving: Saving = NOT_SAVED,
    console: Console | None = None,
) -> Results:
    """Search, or go on with the search in `folder`; write its winners, figures and report there.

    Args:
      config: see `Config`.
      folder: where the study lives; the same config comes back to it and runs only what is missing.
      workload: what to train, when it is the caller's own; `config.workload` is then only its name.
      devices: how many devices to use, all when None; a study keeps to one, or to several of any number.
      chunk_runs: runs computed and recorded together at most; without effect on the results.
      saving: when runs are saved on the way; without effect on the results.
      console: where progress is shown; nowhere when None.

    Raises:
      StudyError: the config, the folder or the journal in it does not serve; nothing was trained.
    """
    own = workload
    workload, problems = workload_of(config, own)
    opened = open_study(
        folder,
        config,
        [*problems, *chunk_problems(chunk_runs)],
        own=own,
        devices=devices,
        console=console,
        saving=saving,
    )
    with opened as study:
        evaluate = evaluator(config, workload, study, chunk_runs)
        return _conclude(config, study, evaluate)


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


def evaluator(config: Config, workload: Workload, study: Session, chunk_runs: int) -> Evaluate:
    """What trains the trials of a search."""
    runner = trial_runner(config, workload, study.sweep, chunk_runs)
    return study.evaluator(lambda sweep, capacity: runner, config.metric, chunk_runs, config.vectorize)


def trial_runner(config: Config, workload: Workload, sweep: Sweep, chunk_runs: int) -> ShapeRunner:
    """(trials) → the metrics at the end of each, trained as the config says."""
    return ShapeRunner(
        workloads.with_compute_dtype(workload, config.precision),
        functools.partial(transformation, config),
        jax.random.key(config.seed),
        sweep,
        batch_size=config.batch_size,
        capacity=chunk_runs,
        vectorize=config.vectorize,
        evaluations=config.evaluations,
        training={"microbatches": config.microbatches, "average_decay": config.average_decay},
    )


def _conclude(config: Config, runs: Runs, evaluate: Evaluate) -> Results:
    key = named_key(jax.random.key(config.seed), "search")
    strategy = STRATEGIES[config.strategy]
    findings = search_shapes(config.spaces, strategy, config.budget, key, evaluate, runs.once)
    spaces = {space.family.name: space for space in config.spaces}
    ranked = standings(findings.winners, BASELINES, config.confidence)
    best = {standing.name: standing.winner for standing in ranked[: config.checked]}
    key = named_key(key, "check")
    verdicts = check_winners(best, spaces, config.check_budget, key, evaluate, runs.once)
    results = collect(findings, ranked, verdicts, config, runs.journal)
    return publish(results, runs, winners_json, write_report)
