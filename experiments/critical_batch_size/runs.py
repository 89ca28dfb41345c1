"""The runs of the study: steps to the target, noise scales along those that confirm, and what both show."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import workloads
from experiments.critical_batch_size.config import Config, Contestant, Variant
from experiments.critical_batch_size.critical import (
    Critical,
    Curve,
    Effect,
    Point,
    Prediction,
    critical_batch,
    decay_effects,
    momentum_effects,
    noise_metric,
    noise_to_target,
    predictions,
)
from experiments.study.options.metrics import curve_columns
from experiments.study.running.runs import Runner, Runs
from experiments.study.statistics.curves import first_reached
from experiments.study.storage.journal import Row, Tally
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, final_metrics, trainer, trial_runner
from experiments.study.training.tuning import CONFIRM, Tuned, tune
from geometry import Moments
from geometry.noise import NOISE_GEOMETRIES
from optim.routing import BY_NAME
from workloads import Workload
from workloads.gradients import part_gradients

STEPS = "steps"  # to the target, as the journal calls them


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was measured.
      curves: by variant, what was measured.
      criticals: by variant, its critical batch and what predicts it.
      effects: of momentum, then of weight decay.
      predictions: by noise scale, how well it predicts.
      tally: how many runs there were, those of the tuning included.
    """

    config: Config
    curves: Mapping[Variant, Curve]
    criticals: Mapping[Variant, Critical]
    effects: Sequence[Effect]
    predictions: Mapping[str, Prediction]
    tally: Tally

    @property
    def points(self) -> list[Point]:
        return [point for curve in self.curves.values() for point in curve]


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every variant at every batch size, and fit the laws to what the fresh seeds took."""
    points = {}
    for optimizer, batch_size in itertools.product(config.optimizers, config.batch_sizes):
        make_runner = partial(runner, optimizer, batch_size, config, runs)
        evaluate = runs.evaluator(make_runner, STEPS, config.chunk_runs)
        for variant in config.variants:
            if variant.optimizer == optimizer:
                contestant = Contestant(variant, batch_size)
                tuned = tune(contestant, variant.centre(batch_size), config, evaluate)
                rows = runs.journal.group(CONFIRM, contestant.name)
                points[variant, batch_size] = measured(variant, batch_size, tuned, rows, config)
    curves = {variant: [points[variant, size] for size in config.batch_sizes] for variant in config.variants}
    criticals = {variant: critical_batch(curve, config) for variant, curve in curves.items()}
    by_momentum = [momentum_effects(name, criticals, config) for name in config.momentum_optimizers]
    effects = [*itertools.chain(*by_momentum), *decay_effects(criticals, config)]
    return Results(config, curves, criticals, effects, predictions(criticals), runs.journal.tally())


def fresh_noise(
    workload: Workload, examples: int, parts: int, params: PyTree, data: PyTree, key: PRNGKeyArray
) -> dict[str, Float[Array, ""]]:
    """The noise scale in each geometry that has one, by its name, from so many fresh examples in equal parts.

    Not from a run's own batches: there may be more of them, and the norm of a small batch's gradient is
    mostly noise, so that the scale comes out as the batch size.
    """
    (indices,) = workload.indices(key, examples, 1)
    _, gradients = part_gradients(workload, parts, 1)(params, data, indices, key)
    moments = Moments.of(gradients, BY_NAME.optional_view)
    return {geometry.name: moments.estimate(examples, geometry).value for geometry in NOISE_GEOMETRIES}


def runner(optimizer: str, batch_size: int, config: Config, runs: Runs) -> Runner:
    """What trains with an optimizer at a batch size: one compiled program for its variants, rates and stages.

    A run's metrics are the steps that it takes to the target, +inf for never, the workload's at its end, and
    of confirming runs the noise scales along the way.
    """
    train = partial(trained, optimizer, batch_size, config, runs.workload)

    return trial_runner(
        lambda stage: Program(train, partial(columns, stage, batch_size, config)),
        lambda t: {**t.numbers, "measuring": t.stage == CONFIRM},
        runs.workload.data,
        config.seed,
    )


def trained(
    optimizer: str,
    batch_size: int,
    config: Config,
    workload: Workload,
    row: Mapping[str, Array],
    data: PyTree,
) -> tuple[dict[str, Float[Array, "evaluations"]], dict[str, Float[Array, "probes"]]]:
    """The metrics along one run, and its noise scales by geometry where `measuring`."""
    computed = workloads.with_compute_dtype(workload, config.precision)
    noise = partial(fresh_noise, computed, config.noise_batch, config.noise_parts)

    def probe(params, state, batch, part_gradients, key):
        return jax.lax.cond(
            row["measuring"],
            lambda: noise(params, data, key),
            lambda: {geometry.name: jnp.zeros([]) for geometry in NOISE_GEOMETRIES},
        )

    horizon = config.horizon(batch_size)
    stages = trainer(
        config,
        workload,
        data,
        lambda schedule: OPTIMIZERS[optimizer].with_momentum(schedule, row["weight_decay"], row["momentum"]),
        jnp.full(horizon, row["learning_rate"]),
        row["key"],
        batch_size=batch_size,
        evaluate_at=config.evaluated_steps(batch_size),
        probe=probe,
        probe_every=config.probed_steps(batch_size).step,
    )
    run = stages.whole(horizon)
    return run.metrics, run.probes


def columns(
    stage: str,
    batch_size: int,
    config: Config,
    results: tuple[Mapping[str, Float[np.ndarray, "runs points"]], ...],
) -> dict[str, np.ndarray]:
    """The metrics of `trained` runs."""
    metrics, scales = results
    evaluated, probed = config.evaluated_steps(batch_size), config.probed_steps(batch_size)
    steps = [first_reached(curve, evaluated, config.target) for curve in metrics[config.metric]]
    noise = curve_columns({noise_metric(name): values for name, values in scales.items()}, probed)
    return {**final_metrics(metrics), STEPS: np.array(steps), **(noise if stage == CONFIRM else {})}


def measured(variant: Variant, batch_size: int, tuned: Tuned, rows: Sequence[Row], config: Config) -> Point:
    """What the confirming runs at a batch size show."""
    runs, probed = [row.metrics for row in rows], config.probed_steps(batch_size)
    return Point(
        variant,
        batch_size,
        tuned,
        {g.name: noise_to_target(g.name, runs, tuned.scores, probed) for g in NOISE_GEOMETRIES},
        diverged=sum(not math.isfinite(metrics[config.metric]) for metrics in runs),
    )
