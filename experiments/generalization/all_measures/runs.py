"""The runs of the study: networks trained to one loss, and how every measure ranks those that reached it."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from experiments.generalization.all_measures.config import (
    AllMeasures,
    Architecture,
    Trial,
    architectures,
    trials,
)
from experiments.generalization.all_measures.networks import (
    CLUSTERS,
    ENVIRONMENTS,
    LOSS,
    program,
    start,
    tested_images,
)
from experiments.generalization.all_measures.rankings import Ranking, rankings
from experiments.generalization.measures import coarse
from experiments.study.options.errors import StudyError
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.fractions import ClusteredShares
from experiments.study.storage.journal import Tally
from experiments.study.training.cross_validation import in_cluster
from geometry.measures import FAMILIES, MEASURES
from workloads.datasets.all_digits import SHIFTS, spoilt_digits

LEAST_NETWORKS = 8  # that are ranked


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was studied.
      reached: the networks that share the training loss.
      errors: theirs, by environment.
      rankings: of every measure, by environment.
      tally: how many networks there were.
    """

    config: AllMeasures
    reached: tuple[Trial, ...]
    errors: Mapping[str, ClusteredShares]
    rankings: Mapping[str, Mapping[str, Ranking]]
    tally: Tally


def conclude(config: AllMeasures, runs: Runs) -> Results:
    """Train and measure all networks, and rank those that reached the target."""
    for architecture in architectures(config):
        evaluate = runs.evaluator(partial(runner, architecture, config), LOSS, config.chunk_runs)
        with threadpool_limits(1, "blas"):  # devices are threads, which those of LAPACK would fight
            evaluate(trials(architecture, config))
    records = runs.journal.metrics(Trial.stage)
    planned = [trial for architecture in architectures(config) for trial in trials(architecture, config)]
    reached = tuple(t for t in planned if records[t.identity][LOSS] <= config.target_loss)
    if len(reached) < LEAST_NETWORKS:
        raise StudyError(
            f"{len(reached)} of {len(planned)} networks reached target_loss={config.target_loss}, too few to"
            " rank: choose a higher one, or more of most_steps."
        )
    names = [name for family in config.families for name in FAMILIES[family].measures]
    values = {n: MEASURES[n].sign * np.array([records[t.identity][n] for t in reached]) for n in names}
    settings = {name: np.array([t.settings[name] for t in reached]) for name in planned[0].settings}
    errors = {environment: error_of(environment, reached, records, config) for environment in ENVIRONMENTS}
    ranked = {
        environment: rankings(values, shares, settings, config) for environment, shares in errors.items()
    }
    return Results(config, reached, errors, ranked, runs.journal.tally())


def runner(architecture: Architecture, config: AllMeasures) -> Runner:
    """What trains and measures the networks of an architecture."""
    copies = spoilt_digits(seed=config.seed)
    data = copies._replace(images=coarse(copies.images))

    def numbers(trial: Trial) -> dict[str, float]:
        return {"learning_rate": trial.base_lr, "decay": trial.decay, "start": start(trial, config)}

    return program(architecture, config).runner(data, config.seed, numbers)


def error_of(
    environment: str, reached: tuple[Trial, ...], records: Mapping, config: AllMeasures
) -> ClusteredShares:
    """The error of every network, over all copies of an environment."""
    copies = 1 if environment == ENVIRONMENTS[0] else len(SHIFTS)

    def wrong(trial: Trial) -> list[float]:
        return [records[trial.identity][in_cluster(environment, cluster)] for cluster in range(CLUSTERS)]

    totals = [copies * tested_images(trial, config) for trial in reached]
    return ClusteredShares(np.array([wrong(t) for t in reached]), np.array(totals))
