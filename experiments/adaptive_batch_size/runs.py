"""The runs of the study: every optimizer with every batch tuned, recorded along its examples, and timed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

import optim
import workloads
from experiments.adaptive_batch_size.config import STRATEGIES, Config, Contestant, contestants
from experiments.adaptive_batch_size.outcome import Along, Confirmed, Curves, Outcome, Timing, outcomes_of
from experiments.study.options.metrics import curve_columns, curve_metric
from experiments.study.running.runs import Runner, Runs
from experiments.study.storage.journal import Journal, Tally
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, Row, final_metrics
from experiments.study.training.timing import in_turn
from experiments.study.training.tuning import CONFIRM, Named, Setting, Tuned, tune
from schedules.search import Scale, named_key
from workloads import Run, Stages, Workload

UPDATES = "updates"  # what every run records beside the workload's metrics
BATCH_SIZE, RATE_FACTOR = "batch_size", "rate_factor"  # and what the growing ones do
NOISE, SIGNAL = "noise_squared", "signal_squared"
NEVER = 2**30  # updates from one measurement to the next


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was compared.
      outcomes: what became of every optimizer, by strategy.
      scale: of the changes of the score.
      medians: by contestant, those of all metrics at the end of the confirming runs.
      tally: how many runs there were.
    """

    config: Config
    outcomes: Mapping[str, Mapping[str, Outcome]]
    scale: Scale
    medians: Mapping[str, Mapping[str, float]]
    tally: Tally

    @property
    def all_outcomes(self) -> list[Outcome]:
        return [outcome for outcomes in self.outcomes.values() for outcome in outcomes.values()]


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every contestant, time them all, and compare the strategies of every optimizer."""
    tuned = {}
    for contestant in contestants(config):
        make_runner = partial(runner, contestant, config, runs)
        evaluate = runs.evaluator(make_runner, config.metric, config.runs_per_rate)
        tuned[contestant] = tune(Named(str(contestant)), contestant.centre(config), config, evaluate)
    timings = runs.once("timings", lambda: measured_timings(tuned, config, runs.workload))
    scale = Scale.of(*(best.scores for best in tuned.values()))

    def confirmed(contestant: Contestant) -> Confirmed:
        curves = read_curves(contestant, config, runs.journal)
        pace = Timing(**timings[str(contestant)]).pace(config)
        seconds = pace.along(np.array(config.curve_samples) / config.small_batch, curves.updates)
        return Confirmed(contestant, tuned[contestant], curves, seconds, pace)

    outcomes = {
        optimizer: outcomes_of({s: confirmed(Contestant(optimizer, s)) for s in STRATEGIES}, scale, config)
        for optimizer in config.optimizers
    }
    return Results(config, outcomes, scale, runs.journal.final_medians(CONFIRM), runs.journal.tally())


def read_curves(contestant: Contestant, config: Config, journal: Journal) -> Curves:
    """The confirming runs along their examples."""
    runs = [row.metrics for row in journal.group(CONFIRM, str(contestant))]

    def values(name: str, constant: float = np.nan) -> Along:
        points = [curve_metric(name, samples) for samples in config.curve_samples]
        return np.array([[metrics.get(point, constant) for point in points] for metrics in runs])

    losses = values(config.metric)
    return Curves(
        losses=np.where(np.isfinite(losses), losses, np.inf),
        updates=values(UPDATES),
        batch_sizes=values(BATCH_SIZE, contestant.batch_size(config)),
        rate_factors=values(RATE_FACTOR, 1.0),
        noise=values(NOISE),
        signal=values(SIGNAL),
    )


def runner(contestant: Contestant, config: Config, runs: Runs) -> Runner:
    """What trains a contestant: all that is recorded of its runs, at the end and along the way."""
    train = partial(recorded_stages, contestant, config, runs.workload)
    program = Program(train, partial(columns, config), contestant.num_steps(config))
    return program.runner(runs.workload.data, config.seed)


def columns(config: Config, records: Mapping[str, Float[np.ndarray, "runs points"]]) -> dict[str, np.ndarray]:
    """The metrics of recorded runs: at their end, and as "train_loss@SAMPLES" along the way."""
    return curve_columns(records, config.curve_samples) | final_metrics(records)


def recorded_stages(
    contestant: Contestant, config: Config, workload: Workload, row: Row, data: PyTree
) -> Stages:
    """One run, to its records at each of `config.curve_samples`."""
    steps = np.array(config.curve_samples) // contestant.batch_size(config)
    probe = control_probe if contestant.grows else None
    stages = training(contestant, config, workload, row, data, evaluate_at=steps.tolist(), probe=probe)

    def records(run: Run) -> dict[str, Float[Array, "points"]]:
        run = stages.finish(run)
        constant = {UPDATES: jnp.asarray(steps, jnp.float32)}
        return {**run.metrics, **(along_examples(run.probes, steps) if contestant.grows else constant)}

    return stages._replace(finish=records)


def training(
    contestant: Contestant,
    config: Config,
    workload: Workload,
    row: Row,
    data: PyTree,
    controller: optim.BatchController | None = None,
    **options: Any,
) -> Stages:
    """Training on batches whose learning rate is the schedule's at their first example.

    A batch that grows does so by micro-batches, which are then the steps, as the controller wants: the
    contestant's own unless another one is given.
    """
    batch_size = contestant.batch_size(config)
    base = OPTIMIZERS[contestant.optimizer].chain(row["decay"] / row["learning_rate"])

    def growing(schedule: optax.Schedule) -> optax.GradientTransformation:
        return optim.adaptive_batch(
            base,
            schedule,
            controller or contestant.controller(config),
            microbatch_size=batch_size,
            num_microbatches=config.num_microbatches,
        )

    return workloads.trainer(
        workload,
        data,
        growing if contestant.grows else base,
        row["learning_rate"] * config.multipliers[:: batch_size // config.small_batch],
        workloads.run_keys(row["key"]),
        batch_size=batch_size,
        parts=config.parts if contestant.grows else 1,
        **options,
    )


def control_probe(params, state, batch, gradients, key) -> dict[str, Array]:
    """The controller's state before a micro-batch; noise and signal are NaN before the first measurement."""
    control = state.control
    average = control.average
    return {
        UPDATES: control.steps,
        BATCH_SIZE: control.batch_size,
        RATE_FACTOR: control.learning_rate_factor,
        NOISE: average.noise**2 / average.noise_weight,
        SIGNAL: average.signal**2 / average.signal_weight,
    }


def along_examples(
    probes: dict[str, Array], seen: Int[np.ndarray, "points"]
) -> dict[str, Float[Array, "points"]]:
    """The controller's records after so many micro-batches, of those before each micro-batch.

    The last micro-batch ends the last batch, however small, and so makes one more update; what it might have
    measured, no batch follows.
    """
    num_microbatches = probes[UPDATES].shape[0]
    records = {name: values[np.minimum(seen, num_microbatches - 1)] for name, values in probes.items()}
    records[UPDATES] = records[UPDATES] + (seen == num_microbatches)
    return {name: values.astype(jnp.float32) for name, values in records.items()}


def measured_timings(
    tuned: Mapping[Contestant, Tuned], config: Config, workload: Workload
) -> dict[str, dict[str, Any]]:
    """The fields of a `Timing` by contestant, each at its best learning rate: all in turn, on one device."""
    calls = {
        (str(contestant), kind): call
        for contestant, best in tuned.items()
        for kind, call in timed_calls(contestant, best.setting, config, workload).items()
    }
    updates = {name: int(call()[0]) for (name, kind), call in calls.items() if kind == "seconds"}
    timings: dict[str, dict[str, Any]] = {name: {"updates": count} for name, count in updates.items()}
    for (name, kind), seconds in in_turn(calls, config.timing_repeats).items():
        timings[name][kind] = seconds
    return timings


def timed_calls(
    contestant: Contestant, setting: Setting, config: Config, workload: Workload
) -> dict[str, Callable[[], tuple[Array, Any]]]:
    """The runs to time, by the field of `Timing`; each returns the updates it made, and what it ends with."""
    row = {name: jnp.float32(value) for name, value in setting.numbers.items()}
    row["key"] = named_key(jax.random.key(config.seed), CONFIRM, 0)

    @jax.jit
    def constant(row, data):
        run = training(contestant, config, workload, row, data).whole(contestant.num_steps(config))
        return jnp.asarray(contestant.num_steps(config)), run.metrics

    @jax.jit
    def growing(row, data, batch_size, every):
        controller = replace(contestant.controller(config), batch_size=batch_size, every=every)
        last = {"probe": control_probe, "probe_every": config.num_microbatches - 1}
        stages = training(contestant, config, workload, row, data, controller, **last)
        run = stages.whole(config.num_microbatches)
        return run.probes[UPDATES][-1] + 1, run.metrics

    if not contestant.grows:
        return {"seconds": partial(constant, row, workload.data)}
    controls = {
        "seconds": (config.small_batch, config.measure_every),
        "fixed_small": (config.small_batch, NEVER),
        "fixed_large": (config.large_batch, NEVER),
    }
    return {kind: partial(growing, row, workload.data, *control) for kind, control in controls.items()}
