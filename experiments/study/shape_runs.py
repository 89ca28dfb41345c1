"""The runs of a search for shapes: trials of `schedules.search` to the metrics at their end."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

import workloads
from schedules.search import Trial
from workloads import Workload


def shape_runner(
    workload: Workload,
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    root: PRNGKeyArray,
    mesh: Mesh,
    *,
    batch_size: int,
    capacity: int,
    vectorize: int = 1,
    curve_steps: Sequence[int] = (),
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(at most `capacity` trials of equal length) → the final metrics of each, computed by one compiled
    program a length over the mesh.

    Every run's key derives from `root` by the name of its trial. What the metrics are after each number of
    updates in `curve_steps`, which ascend, comes beside them as "train_loss@STEP" and the like.
    """
    key_data: dict[tuple[str, int], np.ndarray] = {}

    def one_run(row, data):
        num_steps = row["learning_rates"].shape[0]
        keys = workloads.run_keys(jax.random.wrap_key_data(row["key_data"]))
        finished = workloads.train(
            workload,
            data,
            optimizer,
            row["learning_rates"],
            keys,
            batch_size=batch_size,
            evaluate_at=(*(step for step in curve_steps if step < num_steps), num_steps),
        )
        metrics = {name: values[-1] for name, values in finished.metrics.items()}
        for name, values in finished.metrics.items():
            metrics |= {curve_metric(name, step): values[place] for place, step in enumerate(curve_steps)}
        return metrics

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        for trial in trials:
            if (trial.stage, trial.replicate) not in key_data:
                key_data[trial.stage, trial.replicate] = np.asarray(jax.random.key_data(trial.key(root)))
        inputs = {
            "learning_rates": np.stack([trial.learning_rates for trial in trials]),
            "key_data": np.stack([key_data[trial.stage, trial.replicate] for trial in trials]),
        }
        metrics = workloads.sweep(
            one_run, inputs, workload.data, mesh=mesh, vectorize=vectorize, capacity=capacity
        )
        columns = {name: np.asarray(values).tolist() for name, values in metrics.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    return run_trials


def curve_metric(name: str, step: int) -> str:
    """What a metric after so many updates is called in the journal."""
    return f"{name}@{step}"
