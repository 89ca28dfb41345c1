"""The runs of the study, and what they show: shapes tuned at every size, and what is found used at others."""

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.study.running.runs import Runner, Runs
from experiments.study.running.setup import load_workload
from experiments.study.running.sweeping import Departure
from experiments.study.storage.journal import Tally
from experiments.study.training.programs import Program, final_metrics, trainer
from experiments.study.training.tuning import Evaluate, Trial, Tuned, confirmed, tune
from experiments.transfer.config import Config, Contestant, Size
from experiments.transfer.law import RateFit, fit_rates, optimum, place_near
from experiments.transfer.transfers import Trained, Transfer, best_shape, carried, extrapolated, pairs
from schedules.search import Estimate, Scale, paired_change


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was compared.
      tuned: every shape at every size.
      fits: by family, its best rates and their law.
      transfers: along every axis, to its largest size.
      extrapolated: by family and by `LAW` or `UNCHANGED`, the change at the largest size from the rate that
        was tuned there.
      scale: of all changes.
      tally: how many runs there were.
    """

    config: Config
    tuned: Mapping[Contestant, Tuned]
    fits: Mapping[str, RateFit]
    transfers: Sequence[Transfer]
    extrapolated: Mapping[str, Mapping[str, Estimate]]
    scale: Scale
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every shape at every size, fit the laws, and use at larger sizes what both say of them."""
    evaluate = evaluator(config, runs)
    tuned = {c: tune(c, config.centre, config, evaluate(c.size)) for c in config.contestants}
    scale = Scale.of(*(list(found.screened.values()) for found in tuned.values()))

    def costs(carried: Mapping[str, Trained], best: Contestant) -> dict[str, Estimate]:
        reference = tuned[best].scores
        scores = {name: confirmed(*trained, config, evaluate(best.size)) for name, trained in carried.items()}
        return {
            name: paired_change(values, reference, config.confidence, scale)
            for name, values in scores.items()
        }

    def fit(family: str) -> RateFit:
        found = {size: optimum(tuned[Contestant(family, size)], scale) for size in config.sizes}
        return fit_rates(found, config)

    fits = {family: fit(family) for family in config.families}
    places = runs.once("places by the laws", lambda: {name: place_near(fits[name], config) for name in fits})
    transfers = [
        Transfer(pair, best_shape(pair.source, tuned).family, costs(*carried(pair, tuned)))
        for pair in pairs(config)
    ]
    extrapolations = {family: costs(*extrapolated(family, places[family], tuned, config)) for family in fits}
    return Results(config, tuned, fits, transfers, extrapolations, scale, runs.journal.tally())


def evaluator(config: Config, runs: Runs) -> Callable[[Size], Evaluate]:
    """A size → what trains shapes there; runs that differ in their steps alone share a program."""

    @functools.cache
    def evaluate(batch_size: int, width: int | None) -> Evaluate:
        make_runner = partial(runner, batch_size, width, config, runs)
        return runs.evaluator(make_runner, config.metric, config.chunk_runs)

    return lambda size: evaluate(size.batch_size, size.width)


def runner(batch_size: int, width: int | None, config: Config, runs: Runs) -> Runner:
    """What trains all shapes to all horizons: one program, whose rows hold their learning rates."""
    workload = runs.workload
    if width is not None:
        workload = load_workload(config.workload, config.options_at(width))
    longest = config.largest.num_steps

    @functools.cache
    def multipliers(contestant: Contestant) -> Float[np.ndarray, "steps"]:
        return np.pad(contestant.multipliers, (0, longest - contestant.size.num_steps))

    def numbers(trial: Trial) -> dict[str, np.ndarray]:
        return {"learning_rates": np.float32(trial.base_lr) * multipliers(trial.contestant)}

    def departure(trial: Trial) -> Departure:
        return Departure(trial.replicate, start=0, until=trial.contestant.size.num_steps)

    def train(row, data):
        trained = trainer(
            config,
            workload,
            data,
            config.transformation,
            row["learning_rates"],
            row["key"],
            batch_size=batch_size,
        )
        return trained._replace(finish=lambda run: trained.finish(run).metrics)

    return Program(train, final_metrics, departure=departure).runner(workload.data, config.seed, numbers)
