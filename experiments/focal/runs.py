"""The runs of the study: every loss tuned, and what it makes of images under every condition."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

import geometry
from experiments.focal.config import CENTRE, Config, Focal, Invariant
from experiments.focal.objectives import beside_weights, focal_mean, invariant_workload
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.training.cross_validation import FOLDS, Split, classifier, columns
from experiments.study.training.programs import Program, Row, trainer, trial_runner
from experiments.study.training.tasks import DIGITS, own_split, task_errors
from experiments.study.training.tuning import CONFIRM, Outcomes, Trial, Tuned, tune
from schedules.search import named_key
from workloads import Run, Workload
from workloads.datasets.all_digits import Copies
from workloads.environments import Objective, mean_risk
from workloads.images import MLP
from workloads.training import Optimizer

Contestant = Focal | Invariant
SHARPNESS = ("λ_max", "trace", "λ_max of cross-entropy", "trace of cross-entropy")


class Outcome(NamedTuple):
    """What became of a loss.

    Attributes:
      tuned: its learning rate, by validation images.
      errors: of its confirming runs together, under each condition.
      metrics: of every confirming run.
    """

    tuned: Tuned
    errors: Mapping[str, ClusteredShares]
    metrics: Mapping[str, Float[np.ndarray, "replicates"]]


Results = Outcomes[Config, Contestant, Outcome]


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every loss, and gather what its runs did."""

    @functools.cache
    def evaluator(method: str | None) -> Evaluate:
        return runs.evaluator(functools.partial(runner, method, config), config.metric, config.chunk_runs)

    outcomes = {}
    for contestant in config.contestants:
        tuned = tune(contestant, CENTRE, config, evaluator(getattr(contestant, "method", None)))
        confirmed = [row.metrics for row in runs.journal.group(CONFIRM, contestant.name)]
        outcomes[contestant] = Outcome(
            tuned,
            task_errors(confirmed, config.task(contestant)),
            {name: np.array([metrics[name] for metrics in confirmed]) for name in confirmed[0]},
        )
    return Results(config, outcomes, runs.journal.tally())


def runner(method: str | None, config: Config) -> Runner:
    """What trains with a method over environments, or with the focal loss where there is none."""
    task = DIGITS if method is None else config.coloured
    program = focal_program(config) if method is None else invariant_program(method, config)
    confirming = program if method else program._replace(measure=measured_sharpness(config))

    def numbers(trial: Trial) -> dict[str, float]:
        return trial.numbers | {"fold": trial.replicate % FOLDS}

    return trial_runner(
        lambda stage: confirming if stage == CONFIRM else program,
        numbers,
        task.copies(seed=config.seed),
        config.seed,
    )


def focal_program(config: Config) -> Program:
    """Runs with the focal loss: their metrics, and their parameters."""
    model = MLP(DIGITS.classes, (config.hidden,))

    def train(row, data):
        seen = own_split(row, data, DIGITS, config.validation_size)
        run = trained(classifier(seen, model, focal_mean(row["gamma"])), seen, optax.adam, row, config)
        return run.metrics, run.evaluated

    return Program(train, lambda results: columns(results[0], DIGITS.conditions))


def measured_sharpness(config: Config) -> Callable[[Row, PyTree, Copies], PyTree]:
    """(row, results of such a run, data) → these with the sharpness of its loss, and of the cross-entropy."""
    model = MLP(DIGITS.classes, (config.hidden,))

    def measure(row, results, data):
        metrics, params = results
        seen = own_split(row, data, DIGITS, config.validation_size)
        key = named_key(row["key"], "sharpness")

        def found(objective: Objective) -> list[Float[Array, "1"]]:
            hessian = geometry.hessian_product(
                lambda p: objective(model.apply(p, seen.train_images[0])[None], seen.train_labels), params
            )
            trace = geometry.hutchinson_trace(hessian, params, key, config.probes).mean
            return [value[None] for value in (geometry.top_eigenvalue(hessian, params, key), trace)]

        values = *found(focal_mean(row["gamma"])), *found(mean_risk)
        return metrics | dict(zip(SHARPNESS, values, strict=True)), params

    return measure


def invariant_program(method: str, config: Config) -> Program:
    """Runs with a method over environments."""
    task = config.coloured
    model = MLP(task.classes, (config.hidden,))
    optimizer = beside_weights(optax.adam) if method == "group_dro" else optax.adam

    def train(row, data):
        seen = own_split(row, data, task, config.validation_size)
        workload = invariant_workload(method, row["weight"], seen, model)
        return trained(workload, seen, optimizer, row, config).metrics

    return Program(train, functools.partial(columns, conditions=task.conditions))


def trained(workload: Workload, seen: Split, optimizer: Optimizer, row: Row, config: Config) -> Run:
    """A whole run."""
    rates = row["learning_rate"] * config.multipliers
    stages = trainer(config, workload, seen, optimizer, rates, row["key"], batch_size=config.batch_size)
    return stages.whole(config.num_steps)
