"""The runs of the study, and what they show: small networks, trained and measured."""

import itertools
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
from threadpoolctl import threadpool_limits

import workloads
from experiments.generalization.all_measures import runs as all_measures
from experiments.generalization.all_measures.config import AllMeasures
from experiments.generalization.config import FRESH, HALVE, MEASURE, Config, Trial, trials
from experiments.generalization.gaps import Gaps, Rankings, measured_gaps, rankings
from experiments.generalization.halving import BASELINES, replay
from experiments.generalization.measures import NUM_CLASSES, coarse, dense_criteria, draw_split, network
from experiments.study.options.metrics import curve_metric
from experiments.study.running.runs import Runner, Runs
from experiments.study.storage.journal import Tally
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, trainer, trial_runner
from schedules.search import Standing, named_key, standings
from workloads.images import MLP


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was studied.
      measured: the gaps and what was predicted.
      rankings: how the predictions rank the gaps.
      standings: the criteria of halving, best first, each with what it chose.
      tally: how many runs there were.
    """

    config: Config
    measured: Gaps
    rankings: Rankings
    standings: tuple[Standing, ...]
    tally: Tally


def conclude(config: Config | AllMeasures, runs: Runs) -> Results | all_measures.Results:
    """Train and measure every candidate, rank the gaps, and replay halving; or rank all measures."""
    if isinstance(config, AllMeasures):
        return all_measures.conclude(config, runs)
    planned, journal = trials(config), runs.journal
    for width, optimizer in itertools.product(config.widths, config.optimizers):
        evaluate = runs.evaluator(partial(runner, width, optimizer, config), config.score, config.chunk_runs)
        for stage in (FRESH, HALVE, MEASURE):
            kind = stage, width, optimizer
            chosen = [t for t in planned if (t.stage, t.candidate.width, t.candidate.optimizer) == kind]
            with threadpool_limits(1, "blas"):  # devices are threads, which those of LAPACK would fight
                evaluate(chosen)
    measured = measured_gaps(config, journal.metrics(MEASURE))
    replayed = replay(config, journal.metrics(HALVE), journal.metrics(FRESH))
    ranked = standings(replayed, BASELINES, config.confidence)
    return Results(config, measured, rankings(measured, config.confidence), ranked, journal.tally())


def runner(width: int, optimizer: str, config: Config) -> Runner:
    """What trains networks of that width with that optimizer."""
    data = workloads.load("digits").data
    data = data._replace(train_images=coarse(data.train_images), test_images=coarse(data.test_images))
    trained, measured = (program(dense, width, optimizer, config) for dense in (False, True))
    return trial_runner(lambda stage: measured if stage == MEASURE else trained, numbers, data, config.seed)


def numbers(trial: Trial) -> dict[str, float]:
    """Those of a run."""
    return {"learning_rate": trial.base_lr, "train_size": trial.train_size}


def program(dense: bool, width: int, optimizer: str, config: Config) -> Program:
    """Runs with all measurements at the rungs; where they are to be ranked, with the criteria that need dense
    curvature at their end."""
    model = MLP(NUM_CLASSES, (width,))

    def train(row, data):
        key, sizes = named_key(row["key"], "split"), (config.largest_size, config.validation_size)
        split = draw_split(key, data, row["train_size"], *sizes)
        run = trainer(
            config,
            network(model, split, config.damping),
            split,
            OPTIMIZERS[optimizer].chain(0.0),
            jnp.full(config.num_steps, row["learning_rate"]),
            named_key(row["key"], "run"),
            batch_size=config.batch_size,
            evaluate_at=config.rungs,
        ).whole(config.num_steps)
        criteria = dense_criteria(model, run.evaluated, split, config.damping) if dense else {}
        at_end = {curve_metric(name, config.num_steps): value for name, value in criteria.items()}
        return at_end | {
            curve_metric(name, step): values[rung]
            for name, values in run.metrics.items()
            for rung, step in enumerate(config.rungs)
        }

    return Program(train, columns=dict)
