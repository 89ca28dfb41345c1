"""The runs of a search for shapes: trials of `schedules.search` to the metrics at their end."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

import workloads
from experiments.study.options.groups import Trained
from experiments.study.options.metrics import best_metric, curve_metric, evaluation_steps
from experiments.study.running.runs import Runner, Runs
from experiments.study.running.sweeping import Sweep
from experiments.study.training.programs import trainer
from schedules.search import Trial
from workloads import Run, Stages, Workload
from workloads.memory import fitting_vectorize
from workloads.training import Optimizer


@dataclass(frozen=True, eq=False)
class ShapeRunner:
    """(at most `capacity` trials of equal length) → the final metrics of each, computed by one compiled
    program a length.

    Every run's key derives from `root` by the name of its trial.

    Attributes:
      workload: what is trained; its data are put on the mesh once.
      optimizer: schedule, or one a group of parameters, → transformation.
      root: the key that all others derive from.
      sweep: see `Sweep`.
      batch_size: examples a step.
      capacity: the most trials of a call.
      vectorize: runs that a device computes side by side.
      evaluations: how many times a run is evaluated, at equal distances, the last time at its end. Where
        there are several, the lowest value of each metric comes beside the final one, as "best_train_loss"
        and the like; of a run whose final value is not finite, that value.
      curve_steps: numbers of updates, ascending, after which all metrics are recorded too, as
        "train_loss@STEP" and the like.
      trained: how every run is computed; a study's config where those are options of it.
    """

    workload: Workload
    optimizer: Optimizer
    root: PRNGKeyArray
    sweep: Sweep
    batch_size: int
    capacity: int
    vectorize: int = 1
    evaluations: int = 1
    curve_steps: Sequence[int] = ()
    trained: Trained = field(default_factory=Trained)

    def __call__(self, trials: Sequence[Trial]) -> list[dict[str, float]]:
        rows = self._rows(trials)
        metrics = self.sweep.staged(
            self.stages,
            rows,
            self._data,
            num_steps=rows["learning_rates"].shape[-1],
            capacity=max(self.capacity, len(trials)),  # more were left half-way on more devices
            vectorize=self.vectorize,
        )
        columns = {name: np.asarray(values).tolist() for name, values in metrics.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def fitting_vectorize(self, shape: tuple[int, ...], memory: int) -> int:
        """How many runs with learning rates of that shape a device has room for side by side, in `memory`
        bytes.

        Raises ValueError where not even one run fits.
        """
        key_data = jax.random.key_data(self.root)
        rows = {
            "learning_rates": jax.ShapeDtypeStruct((self.capacity, *shape), np.float32),
            "key_data": jax.ShapeDtypeStruct((self.capacity, *key_data.shape), key_data.dtype),
        }
        return fitting_vectorize(self.stages, rows, self.workload.data, memory, mesh=self.sweep.mesh)

    def stages(self, row: dict[str, PyTree], data: PyTree) -> Stages:
        """One run: its learning rates and the words of its key to its metrics."""
        num_steps = row["learning_rates"].shape[-1]
        curve_steps = [step for step in self.curve_steps if step <= num_steps]
        evaluated = evaluation_steps(num_steps, self.evaluations)
        steps = sorted({*curve_steps, *evaluated})
        training = trainer(
            self.trained,
            self.workload,
            data,
            self.optimizer,
            row["learning_rates"],
            jax.random.wrap_key_data(row["key_data"]),
            batch_size=self.batch_size,
            evaluate_at=steps,
        )

        def metrics(run: Run) -> dict[str, jax.Array]:
            curves = training.finish(run).metrics
            found = {name: curve[-1] for name, curve in curves.items()}
            for name, curve in curves.items():
                if self.evaluations > 1:
                    found[best_metric(name)] = _best(curve[np.searchsorted(steps, evaluated)])
                for step in curve_steps:
                    found[curve_metric(name, step)] = curve[steps.index(step)]
            return found

        return training._replace(finish=metrics)

    @functools.cached_property
    def _data(self) -> PyTree:
        return workloads.replicated(self.workload.data, self.sweep.mesh)

    def _rows(self, trials: Sequence[Trial]) -> dict[str, np.ndarray]:
        return {
            "learning_rates": np.stack([trial.learning_rates for trial in trials]),
            "key_data": np.stack([self._key_data(trial) for trial in trials]),
        }

    def _key_data(self, trial: Trial) -> np.ndarray:
        key = trial.stage, trial.replicate
        if key not in self._known_keys:
            self._known_keys[key] = np.asarray(jax.random.key_data(trial.key(self.root)))
        return self._known_keys[key]

    @functools.cached_property
    def _known_keys(self) -> dict[tuple[str, int], np.ndarray]:
        return {}


def shape_runner(config: Trained, runs: Runs, optimizer: Optimizer, **options: Any) -> Runner:
    """(sweep, capacity) → what trains the study's workload with that optimizer, as its config says; options
    are further attributes of `ShapeRunner`."""
    root = jax.random.key(config.seed)
    return lambda sweep, capacity: ShapeRunner(
        runs.workload, optimizer, root, sweep, capacity=capacity, trained=config, **options
    )


def _best(values: jax.Array) -> jax.Array:
    """The lowest; a run that diverged in the end had no best."""
    return jnp.where(jnp.isfinite(values[-1]), jnp.min(values), values[-1])
