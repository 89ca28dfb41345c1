"""The runs of the study: every contestant tuned in distribution, and what it does under each condition."""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.shift.config import CENTRES, TASKS, Config, Contestant
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.training.cross_validation import FOLDS, classifier, columns
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, trainer
from experiments.study.training.tasks import Task, own_split, task_errors
from experiments.study.training.tuning import CONFIRM, SCREEN, Outcomes, Setting, Trial, Tuned, tune
from workloads.datasets.all_digits import Copies
from workloads.images import MLP


class Outcome(NamedTuple):
    """What became of a contestant.

    Attributes:
      tuned: its best setting, by validation images.
      errors: of its confirming runs together, under each condition.
      screened: the same of every setting that was tried.
      medians: over the confirming runs, of all other metrics of each condition.
    """

    tuned: Tuned
    errors: Mapping[str, ClusteredShares]
    screened: Mapping[Setting, Mapping[str, ClusteredShares]]
    medians: Mapping[str, float]


Results = Outcomes[Config, Contestant, Outcome]


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every contestant, and gather what its runs did."""

    @functools.cache
    def evaluator(task: str, optimizer: str) -> Evaluate:
        make = functools.partial(runner, task, optimizer, config)
        return runs.evaluator(make, config.metric, config.chunk_runs)

    outcomes = {}
    for contestant in config.contestants:
        evaluate = evaluator(contestant.task, contestant.optimizer)
        tuned = tune(contestant, CENTRES[contestant.optimizer], config, evaluate)
        outcomes[contestant] = outcome(contestant, tuned, config, runs)
    return Results(config, outcomes, runs.journal.tally())


def outcome(contestant: Contestant, tuned: Tuned, config: Config, runs: Runs) -> Outcome:
    """What the journal holds of a contestant's runs."""
    task = TASKS[contestant.task]
    records = {
        row.identity: row.metrics
        for stage in (SCREEN, CONFIRM)
        for row in runs.journal.group(stage, contestant.name)
    }

    def made(stage: str, setting: Setting, replicates: int) -> list[Mapping[str, float]]:
        number = config.tuned_decays.index(setting.decay)
        trials = [Trial(stage, contestant, setting, number, replicate) for replicate in range(replicates)]
        return [records[trial.identity] for trial in trials]

    confirmed = made(CONFIRM, tuned.setting, config.confirm_replicates)
    return Outcome(
        tuned,
        task_errors(confirmed, task),
        {s: task_errors(made(SCREEN, s, config.screen_replicates), task) for s in tuned.screened},
        {name: float(np.median([metrics[name] for metrics in confirmed])) for name in confirmed[0]},
    )


def runner(task: str, optimizer: str, config: Config) -> Runner:
    """What trains with an optimizer on a task; the learning rates of every step are numbers of a run."""
    copies = TASKS[task].copies(seed=config.seed)

    def numbers(trial: Trial) -> dict[str, float | Float[np.ndarray, "steps"]]:
        rate, multipliers = trial.base_lr, config.multipliers(trial.contestant.shape)
        return {
            "learning_rates": (rate * np.asarray(multipliers)).astype(np.float32),
            "weight_decay": trial.setting.decay / rate,
            "fold": trial.replicate % FOLDS,
        }

    return program(TASKS[task], optimizer, config).runner(copies, config.seed, numbers)


def program(task: Task, optimizer: str, config: Config) -> Program:
    """Runs that leave out a fold, and what they do on it under every condition."""
    model = MLP(task.classes, (config.hidden,))

    def train(row, data: Copies):
        seen = own_split(row, data, task, config.validation_size)
        trained = trainer(
            config,
            classifier(seen, model),
            seen,
            OPTIMIZERS[optimizer].chain(row["weight_decay"]),
            row["learning_rates"],
            row["key"],
            batch_size=config.batch_size,
        )
        return trained.whole(config.num_steps).metrics

    return Program(train, functools.partial(columns, conditions=task.conditions))
