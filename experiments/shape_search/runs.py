"""The runs of a shape search, under the procedure of `schedules.search`."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jax
from jaxtyping import PRNGKeyArray

import workloads
from experiments.shape_search.config import BASELINES, CURVES, Config
from experiments.study.options.errors import StudyError, raise_problems
from experiments.study.running.devices import device_memory
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.execution import Execution
from experiments.study.running.runs import Runs
from experiments.study.running.setup import device_problems, workload_of
from experiments.study.running.sweeping import Sweep
from experiments.study.storage.folder import StudyFolder, read_config
from experiments.study.storage.journal import Tally
from experiments.study.training.shape_runs import ShapeRunner
from schedules import CurveModel
from schedules.search import (
    STRATEGIES,
    Findings,
    Once,
    Standing,
    Verdict,
    check_winners,
    model_of,
    search_curves,
    search_shapes,
    standings,
)
from schedules.search.keys import named_key
from workloads import Workload

CHUNK_RUNS = 256  # unless the command line says something else


class Results(NamedTuple):
    """A finished search.

    Attributes:
      config: what was searched.
      findings: every shape's screening scores and every winner's confirming ones.
      standings: the families, best first.
      verdicts: on the best winners, how near-optimal each is; with curves on the best one.
      medians: by family, those of all metrics over the winner's confirming runs.
      model: of all curves that were run, where they were searched together.
      tally: how many runs there were.
    """

    config: Config
    findings: Findings
    standings: tuple[Standing, ...]
    verdicts: Mapping[str, Verdict]
    medians: Mapping[str, Mapping[str, float]]
    model: CurveModel | None
    tally: Tally

    @property
    def best(self) -> Standing:
        return self.standings[0]


def conclude(config: Config, runs: Runs) -> Results:
    """Search every family, rank the winners, and check the best of them."""
    evaluate = evaluator(config, runs)
    key = named_key(jax.random.key(config.seed), "search")
    search = _search_curves if config.strategy == CURVES else _search_families
    findings, verdicts, model = search(config, key, evaluate, runs.once)
    ranked = standings(findings.winners, BASELINES, config.confidence)
    medians = runs.journal.medians("confirm")
    return Results(config, findings, ranked, verdicts, medians, model, runs.journal.tally())


def _search_curves(
    config: Config, key: PRNGKeyArray, evaluate: Evaluate, once: Once
) -> tuple[Findings, dict[str, Verdict], CurveModel | None]:
    """All families at once, the verdict on the best winner, and the model that both rest on."""
    findings, verdict, scores = search_curves(
        config.spaces, BASELINES, config.curve_budget, key, evaluate, once
    )
    return findings, {verdict.winner.candidate.family.name: verdict}, model_of(scores)


def _search_families(
    config: Config, key: PRNGKeyArray, evaluate: Evaluate, once: Once
) -> tuple[Findings, dict[str, Verdict], None]:
    """One family after the other, and the verdicts on the best winners."""
    findings = search_shapes(config.spaces, STRATEGIES[config.strategy], config.budget, key, evaluate, once)
    ranked = standings(findings.winners, BASELINES, config.confidence)
    best = {standing.name: standing.winner for standing in ranked[: config.checked]}
    spaces = {space.family.name: space for space in config.spaces}
    verdicts = check_winners(best, spaces, config.check_budget, named_key(key, "check"), evaluate, once)
    return findings, verdicts, None


def evaluator(config: Config, runs: Runs) -> Evaluate:
    """What trains the trials of a search as its config says."""

    def make_runner():
        return functools.partial(shape_runner, config, runs.workload)

    return runs.evaluator(make_runner, config.metric, CHUNK_RUNS, config.vectorize)


def shape_runner(config: Config, workload: Workload, sweep: Sweep, capacity: int) -> ShapeRunner:
    """(trials) → the metrics at the end of each."""
    return ShapeRunner(
        workload,
        config.transformation,
        jax.random.key(config.seed),
        sweep,
        batch_size=config.batch_size,
        capacity=capacity,
        vectorize=config.vectorize,
        evaluations=config.evaluations,
        trained=config,
    )


def with_widest_vectorize(config: Config, folder: Path, execution: Execution) -> Config:
    """The config with the widest `vectorize` that fits each device's free memory, as the compiler plans it.

    A study that was begun in `folder` keeps its own: the width changes the last bits of its results.

    Raises StudyError where not even one run fits.
    """
    study = StudyFolder(folder)
    if os.path.exists(study.config):  # which a name that is too long is not, rather than an error
        return dataclasses.replace(config, vectorize=read_config(study).get("vectorize", config.vectorize))
    workload, problems = workload_of(config)
    raise_problems([*problems, *device_problems(execution.devices, config.data_parallel)])
    mesh = workloads.run_mesh(execution.devices, data_parallel=config.data_parallel)
    runner = shape_runner(config, workload, Sweep(mesh), execution.chunk_runs or CHUNK_RUNS)
    try:
        vectorize = runner.fitting_vectorize(config.num_steps, device_memory(mesh))
    except ValueError as error:
        raise StudyError(f"fill_memory: {error}.") from None
    return dataclasses.replace(config, vectorize=vectorize)
