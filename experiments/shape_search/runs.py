"""The runs of a shape search, under the procedure of `schedules.search`."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
from jaxtyping import PRNGKeyArray

import workloads
from experiments.shape_search.calibration import LeftOut, beside_measured, predicted
from experiments.shape_search.config import BASELINES, CURVES, Config
from experiments.shape_search.prediction import next_batch
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
    Candidate,
    Findings,
    Once,
    SearchSpace,
    Standing,
    Verdict,
    check_winners,
    model_of,
    named_key,
    search_curves,
    search_shapes,
    standings,
)
from schedules.search.challenge import OPEN
from schedules.search.curves import Scores, proposed
from schedules.search.racing import SCREEN
from workloads import Workload

CHUNK_RUNS = 256  # unless the command line says something else


class Explanation(NamedTuple):
    """What a search of all curves at once knows beyond its winners.

    Attributes:
      model: of all curves that were run.
      left_out: by family, how the model of all others predicts its runs.
      next_batch: what would be tried next.
    """

    model: CurveModel
    left_out: Mapping[str, LeftOut]
    next_batch: Sequence[Candidate]


class Results(NamedTuple):
    """A finished search.

    Attributes:
      config: what was searched.
      findings: every shape's screening scores and every winner's confirming ones.
      standings: the families, best first.
      verdicts: on the best winners, how near-optimal each is; with curves on the best one.
      medians: by family, those of all metrics over the winner's confirming runs.
      explanation: where all curves were searched together, and they tell of one another.
      tally: how many runs there were.
    """

    config: Config
    findings: Findings
    standings: tuple[Standing, ...]
    verdicts: Mapping[str, Verdict]
    medians: Mapping[str, Mapping[str, float]]
    explanation: Explanation | None
    tally: Tally

    @property
    def best(self) -> Standing:
        return self.standings[0]

    @property
    def challenger(self) -> Candidate | None:
        """What a check found to be surely better than the best winner, if it found that."""
        verdict = self.verdicts.get(self.best.name)
        return verdict.best.found if verdict and verdict.improved else None


def conclude(config: Config, runs: Runs) -> Results:
    """Search every family, rank the winners, and check the best of them."""
    evaluate = evaluator(config, runs)
    key = named_key(jax.random.key(config.seed), "search")
    if config.strategy == CURVES:
        findings, verdict, scores = search_curves(
            config.spaces, BASELINES, config.curve_budget, key, evaluate, runs.once
        )
        verdicts = {verdict.winner.candidate.family.name: verdict}
        explanation = _explanation(config, scores, named_key(key, "next batch"), runs.once)
    else:
        findings, verdicts = _search_families(config, key, evaluate, runs.once)
        explanation = None
    ranked = standings(findings.winners, BASELINES, config.confidence)
    medians = runs.journal.medians("confirm")
    return Results(config, findings, ranked, verdicts, medians, explanation, runs.journal.tally())


def _explanation(config: Config, scores: Scores, key: PRNGKeyArray, once: Once) -> Explanation | None:
    model = model_of(scores)
    if model is None:
        return None
    spaces = {space.family.name: space for space in config.spaces}
    spaces[OPEN] = SearchSpace(config.family(OPEN), config.learning_rate_range)  # some challengers are of it
    screening = {trial: score for trial, score in scores.items() if trial.stage == SCREEN}
    by_family = once("left out", partial(predicted, model, screening))
    proposals = once("next batch", partial(next_batch, spaces, scores, model, key))
    return Explanation(model, beside_measured(model, screening, by_family), proposed(spaces, proposals))


def _search_families(
    config: Config, key: PRNGKeyArray, evaluate: Evaluate, once: Once
) -> tuple[Findings, dict[str, Verdict]]:
    """One family after the other, and the verdicts on the best winners."""
    findings = search_shapes(config.spaces, STRATEGIES[config.strategy], config.budget, key, evaluate, once)
    ranked = standings(findings.winners, BASELINES, config.confidence)
    best = {standing.name: standing.winner for standing in ranked[: config.checked]}
    spaces = {space.family.name: space for space in config.spaces}
    verdicts = check_winners(best, spaces, config.check_budget, named_key(key, "check"), evaluate, once)
    return findings, verdicts


def evaluator(config: Config, runs: Runs) -> Evaluate:
    """What trains the trials of a search as its config says."""

    def make_runner():
        return partial(shape_runner, config, runs.workload)

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
        vectorize = runner.fitting_vectorize(config.rates_shape, device_memory(mesh))
    except ValueError as error:
        raise StudyError(f"fill_memory: {error}.") from None
    return dataclasses.replace(config, vectorize=vectorize)
