"""Trials to their metrics: rows of numbers through one compiled program."""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import optim
import workloads
from experiments.study.options.groups import Trained
from experiments.study.running.evaluation import RunTrials
from experiments.study.running.runs import Runner
from experiments.study.running.sweeping import Departure, Sweep
from workloads import Stages, Workload
from workloads.training import Optimizer

Row = Mapping[str, Any]  # the numbers of a run, and its key
Train = Callable[[Row, PyTree], PyTree | Stages]  # (row, data) → the run's results, or its stages


class Program(NamedTuple):
    """What trains the trials of one kind, compiled once for all of them.

    Attributes:
      train: (row, data) → the run's results; where there are `num_steps`, its stages, which may be saved on
        the way.
      columns: the results of all runs, each leaf with a leading axis of runs → every metric, a value a run.
      num_steps: of a run in stages.
      departure: a trial → where its run, in stages, leaves its trunk; where runs share one.
      measure: (row, a run's results, data) → what is measured of them, a program of its own: what takes long
        to compile is compiled once for all programs that have the same.
    """

    train: Train
    columns: Callable[[PyTree], Mapping[str, ArrayLike]]
    num_steps: int | None = None
    departure: Callable[[Any], Departure] | None = None
    measure: Callable[[Row, PyTree, PyTree], PyTree] | None = None

    def runner(
        self,
        data: PyTree,
        seed: int,
        numbers: Callable[[Any], Mapping[str, ArrayLike]] = operator.attrgetter("numbers"),
        vectorize: int = 1,
    ) -> Runner:
        """That of trials of all stages; see `trial_runner`."""
        return trial_runner(lambda stage: self, numbers, data, seed, vectorize)


def trial_runner(
    program: Callable[[str], Program],
    numbers: Callable[[Any], Mapping[str, ArrayLike]],
    data: PyTree,
    seed: int,
    vectorize: int = 1,
) -> Runner:
    """(sweep, capacity) → (trials of one stage) → the metrics of each.

    Args:
      program: by the stage of the trials; stages with the same `train` share what is compiled.
      numbers: a trial → those of its row; its key comes beside them, as "key".
      data: what all runs share.
      seed: that of all keys.
      vectorize: runs that a device computes side by side.
    """
    root = jax.random.key(seed)

    def runner(sweep: Sweep, capacity: int) -> RunTrials:
        programs, keyed = functools.cache(program), functools.cache(_with_key)  # so that each compiles once

        def run_trials(trials: Sequence[Any]) -> list[dict[str, float]]:
            (stage,) = {trial.stage for trial in trials}
            train, columns, num_steps, departure, measure = programs(stage)
            train = keyed(train)
            room = max(capacity, len(trials))  # more were left half-way on more devices
            options = {"capacity": room, "vectorize": vectorize}
            inputs = _inputs(trials, numbers, root)
            if departure is not None:
                results = sweep.branched(train, inputs, data, [*map(departure, trials)], **options)
            elif num_steps is None:
                results = sweep(train, inputs, data, **options)
            else:
                results = sweep.staged(train, inputs, data, num_steps=num_steps, **options)
            if measure is not None:
                results = jax.tree.map(np.asarray, results)
                results = sweep(_of_results(measure), (inputs, results), data, **options)
            return _records(columns(jax.tree.map(np.asarray, results)))

        return run_trials

    return runner


def trainer(
    config: Trained,
    workload: Workload,
    data: PyTree,
    optimizer: Optimizer,
    learning_rates: Float[Array, "*groups steps"],
    key: PRNGKeyArray,
    **options: Any,
) -> Stages:
    """`workloads.trainer` as the options say that all studies share, with what methods ask of it; another
    `average_decay` may replace theirs."""
    return workloads.trainer(
        workloads.with_compute_dtype(workload, config.precision),
        data,
        clipped(optimizer, config.clip_norm),
        learning_rates,
        workloads.run_keys(key),
        microbatches=config.microbatches,
        hooks=optim,
        **{"average_decay": config.average_decay, **options},
    )


def clipped(optimizer: Optimizer, clip_norm: float | None) -> Optimizer:
    """The optimizer, of gradients scaled down to that norm where theirs is larger, those too that it takes
    again; of all as they are when None."""
    if clip_norm is None:
        return optimizer
    clip = optax.clip_by_global_norm(clip_norm)

    def build(*schedules: optax.Schedule) -> optax.GradientTransformationExtraArgs:
        chain = optax.chain(clip, optax.with_extra_args_support(optimizer(*schedules)))

        def update(updates, state, params=None, *, grad_fn=None, **extra):
            def again(*place):
                return clip.update(grad_fn(*place), clip.init(None))[0]

            return chain.update(updates, state, params, grad_fn=again, **extra)

        return optax.GradientTransformationExtraArgs(chain.init, update)

    return build


def final_metrics(metrics: Mapping[str, Float[np.ndarray, "runs evaluations"]]) -> dict[str, np.ndarray]:
    """Every metric at the end of each run."""
    return {name: values[:, -1] for name, values in metrics.items()}


def _with_key(train: Train) -> Train:
    """Of rows that hold the words of their keys."""
    return lambda row, data: train(_keyed(row), data)


@functools.cache
def _of_results(measure: Callable[[Row, PyTree, PyTree], PyTree]) -> Train:
    """Of pairs of such a row and a run's results."""
    return lambda pair, data: measure(_keyed(pair[0]), pair[1], data)


def _keyed(row: Row) -> Row:
    return {**row, "key": jax.random.wrap_key_data(row["key_data"])}


def _inputs(
    trials: Sequence[Any], numbers: Callable[[Any], Mapping[str, ArrayLike]], root: PRNGKeyArray
) -> dict[str, np.ndarray]:
    rows = [numbers(trial) for trial in trials]
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    columns = {n: v.astype(np.float32) if v.dtype == np.float64 else v for n, v in columns.items()}
    return columns | {"key_data": np.stack([np.asarray(jax.random.key_data(t.key(root))) for t in trials])}


def _records(columns: Mapping[str, ArrayLike]) -> list[dict[str, float]]:
    """A dictionary a run."""
    values = {name: np.asarray(column).tolist() for name, column in columns.items()}
    return [dict(zip(values, map(float, run), strict=True)) for run in zip(*values.values(), strict=True)]
