"""The runs of the study: every variant tuned and confirmed, and in every setting what predicts the gain."""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float
from threadpoolctl import threadpool_limits

from experiments.ingredients.config import Config, Contestant
from experiments.ingredients.gains import correlated, log_gain
from experiments.ingredients.predictors import PREDICTORS, predictors
from experiments.ingredients.problems import LOSS, Problem
from experiments.ingredients.variants import ADAMW, MUON, optimizer
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.resampled import Correlations
from experiments.study.storage.journal import Tally
from experiments.study.training.programs import Program, Row, trainer, trial_runner
from experiments.study.training.tuning import CONFIRM, Tuned, tune
from schedules.search import Estimate, named_key
from workloads.run import run_keys

Measured = Mapping[str, Float[np.ndarray, "replicates"]]


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was compared.
      tuned: every contestant at its best.
      measured: in every setting the predictors by name, of the seeds of Muon's confirming runs.
      correlations: by family of settings, how the predictors rank them by Muon's gain.
      medians: by the name of a contestant, those of all metrics over its confirming runs.
      tally: how many runs there were.
    """

    config: Config
    tuned: Mapping[Contestant, Tuned]
    measured: Mapping[Problem, Measured]
    correlations: Mapping[str, Correlations]
    medians: Mapping[str, Mapping[str, float]]
    tally: Tally

    def gain(self, problem: Problem) -> Estimate:
        """Muon's over AdamW; see `log_gain`."""
        adamw, muon = (self.tuned[Contestant(problem, name)].scores for name in (ADAMW, MUON))
        return log_gain(adamw, muon, self.config.confidence)


def conclude(config: Config, runs: Runs) -> Results:
    """Tune all contestants, those of one program together, and read what was measured beside Muon."""
    programs: dict[tuple[str, str], list[Contestant]] = {}
    for contestant in config.contestants:
        programs.setdefault(contestant.program, []).append(contestant)
    tuned = {}
    for first, *others in programs.values():
        evaluate = runs.evaluator(partial(runner, first, config), LOSS, config.chunk_runs)
        for contestant in (first, *others):
            with threadpool_limits(1, "blas"):  # devices are threads, which those of LAPACK would fight
                tuned[contestant] = tune(contestant, contestant.centre, config, evaluate)
    measured = {problem: _measured(problem, runs) for problem in config.settings}
    correlations = {
        family: _correlations(problems, tuned, measured, config.confidence)
        for family, problems in config.families.items()
    }
    journal = runs.journal
    return Results(config, tuned, measured, correlations, journal.final_medians(CONFIRM), journal.tally())


def runner(contestant: Contestant, config: Config) -> Runner:
    """What trains all contestants of the same program; in a setting, Muon's confirming seeds are measured."""
    problem, form = contestant.problem, contestant.rules.form
    train, measure = partial(trained, problem, form, config), partial(predicted, problem, config)
    measuring = problem in config.settings and form == MUON

    def program(stage: str) -> Program:
        return Program(train, dict, measure=measure if measuring and stage == CONFIRM else None)

    return trial_runner(program, attrgetter("numbers"), problem.data, config.seed)


def trained(problem: Problem, form: str, config: Config, row: Row, data: Any) -> dict[str, Float[Array, ""]]:
    """One run, to its metrics at the end."""
    workload = problem.workload(row, data)
    run = trainer(
        config,
        workload,
        workload.data,
        partial(optimizer, form, row),
        row["learning_rate"] * config.multipliers,
        named_key(row["key"], "run"),
        batch_size=problem.batch_size,
    ).whole(config.num_steps)
    return {name: values[-1] for name, values in run.metrics.items()}


def predicted(
    problem: Problem, config: Config, row: Row, metrics: Mapping[str, Float[Array, ""]], data: Any
) -> dict[str, Float[Array, ""]]:
    """The metrics of a run, and what its first batches predict."""
    workload, keys = problem.workload(row, data), run_keys(named_key(row["key"], "run"))
    batches = workload.indices(keys.data, problem.batch_size, config.num_steps)[: config.measured_batches]
    return {**metrics, **predictors(workload, batches, keys.init, keys.loss)}


def _measured(problem: Problem, runs: Runs) -> Measured:
    rows = runs.journal.group(CONFIRM, Contestant(problem, MUON).name)
    ordered = sorted(rows, key=attrgetter("replicate"))
    return {name: np.array([row.metrics[name] for row in ordered]) for name in PREDICTORS}


def _correlations(
    problems: Sequence[Problem],
    tuned: Mapping[Contestant, Tuned],
    measured: Mapping[Problem, Measured],
    confidence: float,
) -> Correlations:
    predictions = {name: np.stack([measured[problem][name] for problem in problems]) for name in PREDICTORS}
    adamw, muon = (
        np.stack([tuned[Contestant(problem, name)].scores for problem in problems]) for name in (ADAMW, MUON)
    )
    return correlated(predictions, adamw, muon, confidence)
