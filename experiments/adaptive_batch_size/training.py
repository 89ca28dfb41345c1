"""A run of one contestant, and what is recorded along it at equal numbers of examples."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

import optim
import workloads
from experiments.adaptive_batch_size.config import ADAPTIVE, Config
from experiments.adaptive_batch_size.strategies import Contestant
from experiments.study.running.sweeping import Sweep
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.tuning import Trial
from workloads import Run, Stages, Workload

UPDATES = "updates"  # what every run records beside the workload's metrics
BATCH_SIZE, RATE_FACTOR = "batch_size", "rate_factor"  # and what the growing ones do
NOISE, SIGNAL = "noise_squared", "signal_squared"


def trial_runner(
    contestant: Contestant, config: Config, workload: Workload, sweep: Sweep
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(trials) → all that is recorded of each, at its end and as "train_loss@SAMPLES" along the way."""
    root = jax.random.key(config.seed)

    def stages(row, data):
        return recorded_stages(contestant, config, workload, row, data)

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        rows = jax.tree.map(lambda *leaves: np.stack(leaves), *(trial_row(trial, root) for trial in trials))
        records = sweep.staged(
            stages,
            rows,
            workload.data,
            num_steps=contestant.num_steps(config),
            capacity=max(config.budget.runs_per_rate, len(trials)),  # more may have been left half-way
        )
        columns = {}
        for name, values in records.items():
            along = np.asarray(values).T
            columns |= {f"{name}@{at}": of for at, of in zip(config.curve_samples, along, strict=True)}
            columns[name] = along[-1]
        return [{name: float(of[row]) for name, of in columns.items()} for row in range(len(trials))]

    return run_trials


def trial_row(trial: Trial, root: Array) -> dict[str, Any]:
    """What tells a run apart from others of its program."""
    return {
        "learning_rate": np.float32(trial.setting.learning_rate),
        "decay": np.float32(trial.setting.decay),
        "key_data": np.asarray(jax.random.key_data(trial.key(root))),
    }


def recorded_stages(
    contestant: Contestant, config: Config, workload: Workload, row: PyTree, data: PyTree
) -> Stages:
    """One run, to its records at each of `config.curve_samples`."""
    steps = np.array(config.curve_samples) // contestant.batch_size(config)
    if contestant.strategy in ADAPTIVE:
        options = {"evaluate_at": steps.tolist(), "probe": control_probe}
        stages = adaptive_training(contestant, config, workload, row, data, **options)
    else:
        stages = constant_training(contestant, config, workload, row, data, evaluate_at=steps.tolist())

    def records(run: Run) -> dict[str, Float[Array, "points"]]:
        run = stages.finish(run)
        if contestant.strategy in ADAPTIVE:
            return {**run.metrics, **along_examples(run.probes, steps)}
        return {**run.metrics, UPDATES: jnp.asarray(steps, jnp.float32)}

    return stages._replace(finish=records)


def constant_training(
    contestant: Contestant, config: Config, workload: Workload, row: PyTree, data: PyTree, **options
) -> Stages:
    """Training with a constant batch; its learning rate is the schedule's at the batch's first example."""
    batch_size = contestant.batch_size(config)
    return workloads.trainer(
        workload,
        data,
        _builder(contestant, row),
        row["learning_rate"] * config.multipliers[:: batch_size // config.small_batch],
        workloads.run_keys(jax.random.wrap_key_data(row["key_data"])),
        batch_size=batch_size,
        **options,
    )


def adaptive_training(
    contestant: Contestant,
    config: Config,
    workload: Workload,
    row: PyTree,
    data: PyTree,
    controller: optim.BatchController | None = None,
    **options,
) -> Stages:
    """Training with a batch that grows by micro-batches, as the contestant's controller wants or another one.

    Its steps are micro-batches.
    """
    controller = controller or contestant.controller(config)

    def build(schedule):
        return optim.adaptive_batch(
            _builder(contestant, row),
            schedule,
            controller,
            microbatch_size=config.small_batch,
            num_microbatches=config.num_microbatches,
        )

    return workloads.trainer(
        workload,
        data,
        build,
        row["learning_rate"] * config.multipliers,
        workloads.run_keys(jax.random.wrap_key_data(row["key_data"])),
        batch_size=config.small_batch,
        parts=config.parts,
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


def _builder(contestant: Contestant, row: PyTree) -> Callable[[optax.Schedule], optax.GradientTransformation]:
    def build(schedule):
        return OPTIMIZERS[contestant.optimizer].build(schedule, row["decay"] / row["learning_rate"])

    return build
