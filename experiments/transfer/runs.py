"""The runs of the study, and what they show: shapes tuned at every size, and what is found used at others."""

import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.study.running.runs import Runner, Runs
from experiments.study.running.setup import load_workload
from experiments.study.running.sweeping import Departure
from experiments.study.storage.journal import Tally
from experiments.study.training.programs import Program, final_metrics, trainer, trial_runner
from experiments.study.training.tuning import Evaluate, Setting, Trial, Tuned, confirmed, setting_at, tune
from experiments.transfer.config import Config, Contestant, Size
from experiments.transfer.law import RateFit, fit_rates, optimum, place_near
from schedules.search import Estimate, Scale, paired_change

BOTH, SHAPE, RATE = "shape and rate", "shape, rate retuned", "rate of the best shape"  # that are carried over
LAW, UNCHANGED = "the law's rate", "the central rate"


class Transfer(NamedTuple):
    """What was found at one size, used at a larger one.

    Attributes:
      axis: the number in which the sizes differ.
      source, target: the sizes.
      best: the shape that is the best of all at the source.
      costs: by what is carried over, the change from what was found at the target.
    """

    axis: str
    source: Size
    target: Size
    best: str
    costs: Mapping[str, Estimate]


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

    def best(self, size: Size) -> Contestant:
        """The shape that is the best of all there, by the screening."""
        return best_shape(size, self.tuned)


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every shape at every size, fit the laws, and use at larger sizes what both say of them."""
    evaluate = evaluator(config, runs)
    tuned = {c: tune(c, config.centre, config, evaluate(c.size)) for c in config.contestants}
    scale = Scale.of(*(list(found.screened.values()) for found in tuned.values()))

    def cost(contestant: Contestant, setting: Setting, best: Contestant) -> Estimate:
        scores = confirmed(contestant, setting, config, evaluate(contestant.size))
        return paired_change(scores, tuned[best].scores, config.confidence, scale)

    def transfer(axis: str, source: Size, target: Size) -> Transfer:
        found, best = best_shape(source, tuned), best_shape(target, tuned)
        carried = {
            BOTH: (found.at(target), tuned[found].setting),
            SHAPE: (found.at(target), tuned[found.at(target)].setting),
            RATE: (best, tuned[best.at(source)].setting),
        }
        costs = {name: cost(*trained, best) for name, trained in carried.items()}
        return Transfer(axis, source, target, found.family, costs)

    fits = {
        family: fit_rates({size: optimum(tuned[family, size], scale) for size in config.sizes}, config)
        for family in config.families
    }
    places = runs.once(
        "places by the laws", lambda: {name: place_near(fit, config) for name, fit in fits.items()}
    )

    def extrapolated(family: str) -> dict[str, Estimate]:
        largest, central = Contestant(family, config.largest), Contestant(family, config.central)
        settings = {
            LAW: setting_at(places[family], config.centre),
            UNCHANGED: tuned[central].setting,
        }
        return {name: cost(largest, setting, largest) for name, setting in settings.items()}

    steps = [(axis, *config.along(axis)) for axis in config.axes]
    transfers = [transfer(axis, source, target) for axis, *sources, target in steps for source in sources]
    beyond = {family: extrapolated(family) for family in config.families}
    return Results(config, tuned, fits, transfers, beyond, scale, runs.journal.tally())


def best_shape(size: Size, tuned: Mapping[Contestant, Tuned]) -> Contestant:
    """The one of the least median in the screening there."""
    contestants = [contestant for contestant in tuned if contestant.size == size]
    return min(contestants, key=lambda contestant: min(tuned[contestant].screened.values()))


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

    def numbers(trial: Trial) -> dict[str, np.ndarray]:
        rates = np.float32(trial.base_lr) * np.asarray(trial.contestant.multipliers)
        return {"learning_rates": np.pad(rates, (0, longest - len(rates)))}

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

    program = Program(train, final_metrics, departure=departure)
    return trial_runner(lambda stage: program, numbers, workload.data, config.seed)
