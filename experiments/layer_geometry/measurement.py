"""The measured runs: train with muon to the end w*, then again, measuring every layer towards it."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import workloads
from experiments.layer_geometry.config import Config
from experiments.layer_geometry.layers import Layer, layers_of
from experiments.study.running.sweeping import Sweep
from experiments.study.training.optimizers import OPTIMIZERS
from geometry import (
    EUCLIDEAN,
    SIGN,
    SPECTRAL,
    Moments,
    curvature_index,
    hessian_product,
    isotropic_log_smoothness,
    nuclear_rank,
    path_geometry,
    spec_sign_index,
    stable_rank,
)
from geometry.matrices import leaves_by_path
from optim.routing import BY_NAME
from schedules.search import named_key
from workloads import Workload
from workloads.layers import captured_inputs

MEASURE = "measure"
SURE = 10.0  # an index beyond it, infinite where one geometry is sure of nothing, counts as this
QUANTITIES = (
    "noise_euclidean",
    "noise_sign",
    "noise_spectral",
    "index",
    "curvature_index",
    "nuclear_rank",
    "stable_rank",
    "rsi",
    "eb",
    "cosine",
    "norm",
)


class MeasuredTrial(NamedTuple):
    """A measured run."""

    replicate: int
    base_lr: float
    stage: str = MEASURE

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """What makes this trial the same one in a resumed study."""
        return self.stage, "muon", 0, 0, self.replicate

    @property
    def params(self) -> dict[str, float]:
        return {}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        return named_key(root, self.stage, self.replicate)


def measured_trials(config: Config) -> list[MeasuredTrial]:
    return [MeasuredTrial(replicate, config.learning_rate) for replicate in range(config.replicates)]


def measurement_runner(
    config: Config, workload: Workload, sweep: Sweep
) -> Callable[[Sequence[MeasuredTrial]], list[dict[str, float]]]:
    """(trials) → the final metrics of each, and what was measured as "block_0/up:index@STEP" and the like."""
    root = jax.random.key(config.seed)
    layers = layers_of(workload)

    def one_run(row, data):
        return measured_run(config, workload, data, jax.random.wrap_key_data(row["key_data"]))

    def run_trials(trials: Sequence[MeasuredTrial]) -> list[dict[str, float]]:
        keys = np.stack([np.asarray(jax.random.key_data(trial.key(root))) for trial in trials])
        finished = sweep(one_run, {"key_data": keys}, workload.data)
        columns = {name: np.asarray(values)[:, -1] for name, values in finished.metrics.items()}
        for quantity, values in finished.probes.items():
            table = np.asarray(values, float)
            for (place, step), (row, layer) in itertools.product(
                enumerate(config.probed_steps), enumerate(layers)
            ):
                columns[f"{layer.name}:{quantity}@{step}"] = table[:, place, row]
        return [{name: float(values[run]) for name, values in columns.items()} for run in range(len(trials))]

    return run_trials


def measured_run(config: Config, workload: Workload, data: PyTree, key: PRNGKeyArray) -> workloads.Run:
    """Train twice from the same key, the second time measuring towards the end of the first."""
    rates = config.learning_rate * config.multipliers

    def build(schedule):
        return OPTIMIZERS["muon"].build(schedule, config.decay / config.learning_rate)

    def one_pass(reference, measuring):
        finished = workloads.train(
            workload,
            data,
            build,
            rates,
            workloads.run_keys(key),
            batch_size=config.batch_size,
            parts=config.parts,
            probe=_probe(config, workload, data, reference, measuring),
            probe_every=config.probe_every,
        )
        return finished.params, finished

    # one loop over one program: two programs could differ in their last bits, and then in everything
    start = jax.tree.map(jnp.zeros_like, jax.eval_shape(workload.init, key))
    _, passes = jax.lax.scan(one_pass, start, jnp.array([False, True]))
    return jax.tree.map(lambda leaf: leaf[1], passes)


def _probe(config: Config, workload: Workload, data: PyTree, reference: PyTree, measuring: Array):
    """Measure every quantity, a value a layer, where `measuring`; all zero elsewhere."""
    layers = layers_of(workload)

    def measure(params, part_gradients, batch, key) -> dict[str, Float[Array, "layers"]]:
        moments = Moments.of(part_gradients, BY_NAME.optional_view)
        found = {
            **_noise(moments, layers, config),
            **_curvature(params, layers, config, workload, data, key),
            **_activations(params, layers, workload, batch, key),
            **_path(moments.mean, params, reference, layers),
            "norm": _each(layers, leaves_by_path(params), lambda stack: jnp.max(SPECTRAL.norm(stack))),
        }
        return {quantity: found[quantity] for quantity in QUANTITIES}

    def probe(params, state, batch, part_gradients, key):
        nothing = {quantity: jnp.zeros(len(layers)) for quantity in QUANTITIES}
        return jax.lax.cond(measuring, lambda: measure(params, part_gradients, batch, key), lambda: nothing)

    return probe


def _noise(moments: Moments, layers: Sequence[Layer], config: Config) -> dict[str, Float[Array, "layers"]]:
    scales = {
        one.name: moments.estimate_leaves(config.batch_size, one) for one in (EUCLIDEAN, SIGN, SPECTRAL)
    }
    index = [
        spec_sign_index(
            scales["spectral"][layer.path],
            scales["sign"][layer.path],
            config.batch_size,
            tau=config.tau,
            log_smoothness_ratio=isotropic_log_smoothness(layer.view, layer.shape),
        )
        for layer in layers
    ]
    noise = {
        f"noise_{name}": jnp.stack([of[layer.path].value for layer in layers]) for name, of in scales.items()
    }
    return {**noise, "index": jnp.clip(jnp.stack(index), -SURE, SURE)}


def _curvature(
    params: PyTree,
    layers: Sequence[Layer],
    config: Config,
    workload: Workload,
    data: PyTree,
    key: PRNGKeyArray,
) -> dict[str, Float[Array, "layers"]]:
    """From the mean gradient of many batches, since noise would pass for gain and for rank."""
    indices = workload.indices(key, config.curvature_batches * config.batch_size, 1)[0]
    batch = workload.batch(data, indices)

    def loss(weights):
        return workload.loss(weights, batch, key)

    gradient = jax.grad(loss)(params)
    index = curvature_index(gradient, hessian_product(loss, params), BY_NAME.optional_view)
    return {
        "curvature_index": jnp.stack([index[layer.path] for layer in layers]),
        "nuclear_rank": _each(layers, leaves_by_path(gradient), lambda stack: jnp.mean(nuclear_rank(stack))),
    }


def _activations(
    params: PyTree, layers: Sequence[Layer], workload: Workload, batch: PyTree, key: PRNGKeyArray
) -> dict[str, Float[Array, "layers"]]:
    """NaN where nothing dense or convolutional enters, as with embeddings."""
    inputs = captured_inputs(workload.loss, params, batch, key)
    ranks = [stable_rank(inputs[layer.path]) if layer.path in inputs else jnp.nan for layer in layers]
    return {"stable_rank": jnp.stack([jnp.asarray(rank) for rank in ranks])}


def _path(
    gradient: PyTree, params: PyTree, reference: PyTree, layers: Sequence[Layer]
) -> dict[str, Float[Array, "layers"]]:
    trees = [leaves_by_path(tree) for tree in (gradient, params, reference)]
    found = [path_geometry(*(leaves[layer.path] for leaves in trees)) for layer in layers]
    return {name: jnp.stack([getattr(of, name) for of in found]) for name in ("rsi", "eb", "cosine")}


def _each(
    layers: Sequence[Layer], leaves: Mapping[str, Array], measure: Callable[[Array], Array]
) -> Float[Array, "layers"]:
    """The mean over a layer's blocks of `measure` of their matrices."""
    blocks = [[measure(stack) for stack in layer.view.split(leaves[layer.path])] for layer in layers]
    return jnp.stack([jnp.mean(jnp.stack(values)) for values in blocks])
