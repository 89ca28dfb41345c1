"""Three ways to choose each layer's geometry, tuned at an equal budget: always one, or as the index says."""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

import optim
import workloads
from experiments.layer_geometry.config import BY_INDEX, SIGN_ONLY, Config
from experiments.layer_geometry.layers import KINDS, layers_of
from experiments.study.running.sweeping import Sweep
from experiments.study.training.tuning import Trial
from workloads import Workload


def undecided(gradients: PyTree, **extra) -> PyTree:
    """An index that leaves every geometry as it is."""
    return jax.tree.map(lambda leaf: jnp.zeros([]), gradients)


def choice(way: str, config: Config) -> optim.Choice:
    """How the leaves choose; all matrices may change, and back again."""
    index = optim.NoiseIndex(config.batch_size, config.tau) if way == BY_INDEX else undecided
    initial = "sign" if way == SIGN_ONLY else "spectral"
    return optim.Choice(index, every=config.index_every, lock=False, initial=initial, kinds=KINDS)


def optimizer(
    way: str, config: Config, schedule: optax.Schedule, weight_decay: ArrayLike
) -> optax.GradientTransformation:
    """Both geometries with momentum and Adam's root mean square, so that one learning rate serves all."""
    return optim.spec_sign(
        schedule, choice=choice(way, config), weight_decay=weight_decay, fallback_weight_decay=weight_decay
    )


def choosing_runner(
    way: str, config: Config, workload: Workload, sweep: Sweep
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(trials) → the final metrics of each, and which layers were spectral as "block_0/up:spectral@STEP"."""
    root = jax.random.key(config.seed)
    layers = layers_of(workload)

    def geometry_in_use(params, state, batch, part_gradients, key):
        spectral = optax.tree.get(state, "spectral")
        return {layer.name: spectral[layer.path] for layer in layers}

    def one_run(row, data):
        peak = row["learning_rate"]
        return workloads.train(
            workload,
            data,
            lambda schedule: optimizer(way, config, schedule, row["decay"] / peak),
            peak * config.multipliers,
            workloads.run_keys(jax.random.wrap_key_data(row["key_data"])),
            batch_size=config.batch_size,
            parts=config.parts,
            probe=geometry_in_use,
            probe_every=config.index_every,
        )._replace(params=None)

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        inputs = {
            "learning_rate": np.array([trial.setting.learning_rate for trial in trials], np.float32),
            "decay": np.array([trial.setting.decay for trial in trials], np.float32),
            "key_data": np.stack([np.asarray(jax.random.key_data(trial.key(root))) for trial in trials]),
        }
        finished = sweep(one_run, inputs, workload.data, capacity=config.budget.runs_per_rate)
        finished = jax.tree.map(np.asarray, finished)
        columns = {name: values[:, -1] for name, values in finished.metrics.items()}
        for layer, (place, step) in itertools.product(layers, enumerate(config.looked_at_steps)):
            columns[f"{layer.name}:spectral@{step}"] = finished.probes[layer.name][:, place]
        return [{name: float(values[run]) for name, values in columns.items()} for run in range(len(trials))]

    return run_trials
