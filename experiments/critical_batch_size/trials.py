"""The runs of the study: steps to the target, and the noise scales along those that confirm."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray, PyTree

import workloads
from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.variants import Variant
from experiments.study.running.sweeping import Sweep
from experiments.study.statistics.crossing import first_reached
from experiments.study.storage.journal import Identity
from experiments.study.training import tuning
from experiments.study.training.noise import FreshNoise
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.tuning import CONFIRM
from geometry.noise import NOISE_GEOMETRIES
from workloads import Workload

STEPS = "steps"  # to the target, as the journal calls them


def group_name(variant: Variant, batch_size: int) -> str:
    """What the runs of a variant at a batch size are called in the journal."""
    return f"{variant.name} @ {batch_size}"


def noise_metric(geometry: str, step: int) -> str:
    """What a noise scale before such an update is called in the journal."""
    return f"noise_{geometry}@{step}"


class Trial(NamedTuple):
    """A run of the tuning procedure, with the variant and the batch size that are tuned."""

    variant: Variant
    batch_size: int
    tuned: tuning.Trial

    @property
    def stage(self) -> str:
        return self.tuned.stage

    @property
    def identity(self) -> Identity:
        return self.tuned.identity

    @property
    def base_lr(self) -> float:
        return self.tuned.base_lr

    @property
    def params(self) -> dict[str, float]:
        variant = self.variant
        return {
            "batch_size": self.batch_size,
            "momentum": variant.momentum,
            "weight_decay": variant.weight_decay,
        }

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for all variants, batch sizes and rates of one replicate of one stage."""
        return self.tuned.key(root)


def trial_runner(
    optimizer: str, batch_size: int, config: Config, workload: Workload, sweep: Sweep
) -> Callable[[Sequence[Trial]], list[dict[str, float]]]:
    """(trials of one stage) → the steps each takes to the target, +inf for never, its metrics at the end, and
    of confirming runs the noise scales along the way; one compiled program for all variants and rates."""
    root = jax.random.key(config.seed)
    evaluated, probed = config.evaluated_steps(batch_size), config.probed_steps(batch_size)
    noise = FreshNoise(workload, config.noise_batch, config.noise_parts)
    program = functools.partial(_train, optimizer, batch_size, config, workload, noise)

    def run_trials(trials: Sequence[Trial]) -> list[dict[str, float]]:
        (stage,) = {trial.stage for trial in trials}
        inputs = {
            "learning_rate": np.array([trial.base_lr for trial in trials], np.float32),
            "momentum": np.array([trial.variant.momentum for trial in trials], np.float32),
            "weight_decay": np.array([trial.variant.weight_decay for trial in trials], np.float32),
            "measuring": np.full(len(trials), stage == CONFIRM),
            "key_data": np.stack([np.asarray(jax.random.key_data(trial.key(root))) for trial in trials]),
        }
        finished = sweep(program, inputs, workload.data, capacity=config.chunk_runs)
        curves, scales = jax.tree.map(np.asarray, finished)
        columns = {name: values[:, -1] for name, values in curves.items()}
        columns[STEPS] = [first_reached(curve, evaluated, config.target) for curve in curves[config.metric]]
        if stage == CONFIRM:
            for name, values in scales.items():
                columns |= {noise_metric(name, step): values[:, k] for k, step in enumerate(probed)}
        return [{name: float(values[row]) for name, values in columns.items()} for row in range(len(trials))]

    return run_trials


def _train(
    optimizer: str,
    batch_size: int,
    config: Config,
    workload: Workload,
    noise: FreshNoise,
    row: dict[str, jax.Array],
    data: PyTree,
) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """The metrics along one run, and its noise scales by geometry where `measuring`."""

    def build(schedule):
        return OPTIMIZERS[optimizer].with_momentum(schedule, row["weight_decay"], row["momentum"])

    def probe(params, state, batch, part_gradients, key):
        return jax.lax.cond(
            row["measuring"],
            lambda: noise.scales(params, data, key),
            lambda: {geometry.name: jnp.zeros([]) for geometry in NOISE_GEOMETRIES},
        )

    finished = workloads.train(
        workload,
        data,
        build,
        jnp.full(config.horizon(batch_size), row["learning_rate"]),
        workloads.run_keys(jax.random.wrap_key_data(row["key_data"])),
        batch_size=batch_size,
        evaluate_at=config.evaluated_steps(batch_size),
        probe=probe,
        probe_every=config.probed_steps(batch_size).step,
    )
    return finished.metrics, finished.probes
