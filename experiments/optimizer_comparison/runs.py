"""The runs of a comparison, and what they show: every optimizer tuned, timed and ranked."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.optimizer_comparison.claims import REFERENCE
from experiments.optimizer_comparison.config import CENTRES, Config
from experiments.study.options.metrics import curve_metric
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.curves import first_reached
from experiments.study.storage.journal import Tally
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, final_metrics, trainer, trial_runner
from experiments.study.training.timing import in_turn
from experiments.study.training.tuning import CONFIRM, SCREEN, Named, Tuned, tune
from schedules.search import Standing, standings
from workloads import Workload

TIMING_REPEATS = 5


class Pace(NamedTuple):
    """How fast an optimizer is.

    Attributes:
      curve: the median over confirming runs of the metric, at each of `config.curve_steps`.
      step_seconds: seconds a training step takes, the median over repeats.
      relative_step: that over the reference's, the median over paired repeats.
      steps: the step at which the curve first reaches the reference's final value, over the horizon;
        infinite where it does not.
      seconds: the same as a fraction of the reference's time for the horizon.
    """

    curve: Float[np.ndarray, "points"]
    step_seconds: float
    relative_step: float
    steps: float
    seconds: float


class Results(NamedTuple):
    """A finished comparison.

    Attributes:
      config: what was compared.
      standings: the optimizers, best first.
      paces: how fast each is.
      medians: by optimizer, those of all metrics at the end of the confirming runs.
      tally: how many runs there were.
    """

    config: Config
    standings: tuple[Standing, ...]
    paces: Mapping[str, Pace]
    medians: Mapping[str, Mapping[str, float]]
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every optimizer, time a step of each, and rank them."""
    tuned = {}
    for name in config.compared:
        evaluate = runs.evaluator(partial(runner, name, config, runs), config.metric, config.runs_per_rate)
        tuned[name] = tune(Named(name), CENTRES[name], config, evaluate)
    timings = runs.once("timings", lambda: step_seconds(tuned, config, runs.workload))
    ranked, journal = standings(tuned, config.references, config.confidence), runs.journal
    pace = paces(journal.medians(CONFIRM), timings, config)
    return Results(config, ranked, pace, journal.final_medians(CONFIRM), journal.tally())


def runner(name: str, config: Config, runs: Runs) -> Runner:
    """What trains with that optimizer, and evaluates confirming runs along the way too."""
    steps = {SCREEN: (config.num_steps,), CONFIRM: config.curve_steps}
    return trial_runner(
        lambda stage: program(name, config, runs.workload, steps[stage]),
        attrgetter("numbers"),
        runs.workload.data,
        config.seed,
    )


def program(name: str, config: Config, workload: Workload, evaluate_at: tuple[int, ...]) -> Program:
    """Runs with that optimizer: the metrics at their end, and the one that is scored at each evaluation."""

    def train(row, data):
        peak = row["learning_rate"]
        trained = trainer(
            config,
            workload,
            data,
            lambda schedule: OPTIMIZERS[name].build(schedule, row["decay"] / peak),
            peak * config.multipliers_of(name),
            row["key"],
            batch_size=config.batch_size,
            evaluate_at=evaluate_at,
        )
        return trained._replace(finish=lambda run: trained.finish(run).metrics)

    def columns(metrics):
        curve = zip(evaluate_at, metrics[config.metric].T, strict=True) if len(evaluate_at) > 1 else ()
        return final_metrics(metrics) | {curve_metric(config.metric, step): values for step, values in curve}

    return Program(train, columns, config.num_steps)


def step_seconds(tuned: Mapping[str, Tuned], config: Config, workload: Workload) -> dict[str, list[float]]:
    """Seconds a training step takes with each optimizer at its best: all in turn, on one device."""
    key = jax.random.key(config.seed)

    def timed(name: str) -> Callable[[], Any]:
        numbers = {n: jnp.float32(value) for n, value in tuned[name].setting.numbers.items()} | {"key": key}
        train = program(name, config, workload, (config.num_steps,)).train
        whole = jax.jit(lambda row, data: train(row, data).whole(config.num_steps))
        compiled = whole.lower(numbers, workload.data).compile()
        return lambda: compiled(numbers, workload.data)

    seconds = in_turn({name: timed(name) for name in tuned}, TIMING_REPEATS)
    return {name: [run / config.num_steps for run in repeats] for name, repeats in seconds.items()}


def paces(
    medians: Mapping[str, Mapping[str, float]], timings: Mapping[str, Sequence[float]], config: Config
) -> dict[str, Pace]:
    """From the confirming runs' medians and the seconds of a step."""
    points = [curve_metric(config.metric, step) for step in config.curve_steps]
    curves = {name: np.array([values[point] for point in points]) for name, values in medians.items()}

    def pace(name: str, curve: Float[np.ndarray, "points"]) -> Pace:
        relative = float(np.median(np.divide(timings[name], timings[REFERENCE])))
        steps = first_reached(curve, config.curve_steps, curves[REFERENCE][-1]) / config.num_steps
        return Pace(curve, float(np.median(timings[name])), relative, steps, steps * relative)

    return {name: pace(name, curve) for name, curve in curves.items()}
