"""The two passes of a measured run: train to the end w*, then replay the same steps and look towards it."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray, PyTree

import workloads
from experiments.path_geometry.config import Config
from experiments.study.running.sweeping import Sweep
from experiments.study.training.optimizers import OPTIMIZERS
from geometry import path_geometry
from schedules.search import named_key
from workloads import Workload

VECTORS = ("gradient", "update", "random")  # what is measured: the batch's gradient, minus the step, noise
LABELS = ("true labels", "random labels")


class PathTrial(NamedTuple):
    """A measured run; its stage says which labels it trains on."""

    stage: str
    optimizer: str
    batch_size: int
    base_lr: float
    replicate: int

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """What makes this trial the same one in a resumed study."""
        return self.stage, self.optimizer, self.batch_size, 0, self.replicate

    @property
    def params(self) -> dict[str, float]:
        return {}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for all optimizers, batch sizes and labels of one replicate."""
        return named_key(root, "path", self.replicate)


def path_trials(optimizer: str, batch_size: int, config: Config) -> list[PathTrial]:
    """The measured runs of one optimizer at one batch size."""
    return [
        PathTrial(labels, optimizer, batch_size, config.peaks[optimizer], replicate)
        for labels in LABELS
        for replicate in range(config.replicates)
    ]


def path_runner(
    optimizer: str, batch_size: int, config: Config, workload: Workload, sweep: Sweep
) -> Callable[[Sequence[PathTrial]], list[dict[str, float]]]:
    """(trials) → the final metrics of each, whether its replay was exact, and what was measured as
    "gradient_cosine@STEP" and the like, computed by one compiled program."""
    root = jax.random.key(config.seed)

    def one_run(row, data):
        key = jax.random.wrap_key_data(row["key_data"])
        data = _with_labels(data, row["random_labels"], named_key(key, "labels"))
        return replayed(optimizer, batch_size, config, workload, data, row["learning_rate"], key)

    def run_trials(trials: Sequence[PathTrial]) -> list[dict[str, float]]:
        inputs = {
            "learning_rate": np.array([trial.base_lr for trial in trials], np.float32),
            "random_labels": np.array([trial.stage == "random labels" for trial in trials]),
            "key_data": np.stack([np.asarray(jax.random.key_data(trial.key(root))) for trial in trials]),
        }
        finished, exact = sweep(one_run, inputs, workload.data)
        parameters = sum(leaf[0].size for leaf in jax.tree.leaves(finished.params))
        columns = {name: values[:, -1] for name, values in finished.metrics.items()}
        columns |= {"exact_replay": exact, "parameters": np.full(len(trials), parameters)}
        for quantity, values in finished.probes.items():
            for (place, step), (row, vector) in itertools.product(
                enumerate(config.probed_steps), enumerate(VECTORS)
            ):
                columns[f"{vector}_{quantity}@{step}"] = values[:, place, row]
        columns = {name: np.asarray(values, float) for name, values in columns.items()}
        return [{name: float(values[row]) for name, values in columns.items()} for row in range(len(trials))]

    return run_trials


def replayed(
    optimizer: str,
    batch_size: int,
    config: Config,
    workload: Workload,
    data: Any,
    learning_rate: jax.Array,
    key: PRNGKeyArray,
) -> tuple[workloads.Run, jax.Array]:
    """Train twice from the same key, the second time measuring towards the end of the first; the second run,
    with the end of the first as `params`, and whether both ended alike in every bit."""
    rates = learning_rate * config.multipliers

    def build(schedule):
        return OPTIMIZERS[optimizer].build(schedule, 0.0)

    def one_pass(reference, _):
        finished = workloads.train(
            workload,
            data,
            build,
            rates,
            workloads.run_keys(key),
            batch_size=batch_size,
            probe=_probe(build(lambda count: rates[count]), reference),
            probe_every=config.probe_every,
        )
        return finished.params, finished

    # one loop over one program: two programs could differ in their last bits, and then in everything
    start = jax.tree.map(jnp.zeros_like, jax.eval_shape(workload.init, key))
    _, passes = jax.lax.scan(one_pass, start, length=2)
    ends = jax.tree.map(lambda leaf: jnp.array_equal(leaf[0], leaf[1], equal_nan=True), passes.params)
    return jax.tree.map(lambda leaf: leaf[1], passes), jnp.all(jnp.stack(jax.tree.leaves(ends)))


def _probe(transformation, reference: PyTree) -> workloads.training.Probe:
    """Measure the path towards `reference`, all `VECTORS` in a row."""

    def measure(params, state, batch, part_gradients, key):
        gradient = jax.tree.map(lambda g: jnp.mean(g, axis=0), part_gradients)
        updates, _ = transformation.update(gradient, state, params)
        flat, unravel = ravel_pytree(params)
        noise = unravel(jax.random.normal(key, flat.shape, flat.dtype))
        vectors = gradient, jax.tree.map(jnp.negative, updates), noise
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *vectors)
        return jax.vmap(path_geometry, in_axes=(0, None, None))(stacked, params, reference)._asdict()

    return measure


def _with_labels(data: Any, random: jax.Array, key: PRNGKeyArray) -> Any:
    """The data, its training labels shuffled among the examples where `random`."""
    shuffled = jax.random.permutation(key, data.train_labels)
    return data._replace(train_labels=jnp.where(random, shuffled, data.train_labels))
