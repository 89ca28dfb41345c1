"""The measured runs: train with muon to the end w*, then again, measuring every layer towards it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from experiments.layer_geometry.config import Config
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import trainer
from experiments.study.training.replay import replayed
from geometry import (
    EUCLIDEAN,
    SIGN,
    SPECTRAL,
    MatrixView,
    Moments,
    curvature_index,
    hessian_product,
    isotropic_log_smoothness,
    nuclear_rank,
    path_geometry,
    spec_sign_index,
    stable_rank,
)
from geometry.matrices import leaves_by_path, tree_shapes
from optim import by_name
from optim.routing import BY_NAME
from workloads import Run, Workload
from workloads.layers import captured_inputs
from workloads.training import Probe

KINDS = ("embed", "hidden", "head")


class Layer(NamedTuple):
    """A leaf that is seen as matrices.

    Attributes:
      path: the leaf's.
      shape: the leaf's.
      kind: "embed", "hidden" or "head".
      view: how it is seen as matrices.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    view: MatrixView

    @property
    def name(self) -> str:
        """The path without what all leaves share."""
        return self.path.removeprefix("params/").removesuffix("/kernel").removesuffix("/embedding")


def layers_of(workload: Workload) -> tuple[Layer, ...]:
    """The matrices of the model that the workload trains: embeddings, hidden ones, the head."""
    shapes = tree_shapes(jax.eval_shape(workload.init, jax.random.key(0)))
    routes = {path: by_name(path, shape) for path, shape in shapes.items()}
    found = [
        Layer(path, shapes[path], route.kind, route.view) for path, route in routes.items() if route.view
    ]
    return tuple(sorted(found, key=lambda layer: KINDS.index(layer.kind)))


MEASURE = "measure"
LARGEST_INDEX = 10.0  # one beyond it, infinite where one geometry is sure of nothing, counts as this
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
PerLayer = dict[str, Float[Array, "layers"]]


def measured_run(config: Config, workload: Workload, data: PyTree, key: PRNGKeyArray) -> Run:
    """A run of muon, measured towards its own end: see `replayed`."""
    rates = config.learning_rate * config.multipliers
    chain = OPTIMIZERS["muon"].chain(config.decay / config.learning_rate)

    def train(end, measuring):
        return trainer(
            config,
            workload,
            data,
            chain,
            rates,
            key,
            batch_size=config.batch_size,
            parts=config.parts,
            probe=_towards(end, measuring, config, workload, data),
            probe_every=config.probe_every,
        ).whole(config.num_steps)

    run, _ = replayed(train, jax.eval_shape(workload.init, key))
    return run


def _towards(
    end: PyTree, measuring: Bool[Array, ""], config: Config, workload: Workload, data: PyTree
) -> Probe:
    """Measure every quantity, a value a layer, where `measuring`; all zero elsewhere.

    The curvature and the inputs of layers are measured in float32, whatever losses are computed in.
    """
    layers = layers_of(workload)

    def measure(params, part_gradients, batch, key) -> PerLayer:
        moments = Moments.of(part_gradients, BY_NAME.optional_view)
        measured = {
            **_noise(moments, layers, config),
            **_curvature(params, layers, config, workload, data, key),
            **_activations(params, layers, workload, batch, key),
            **_path(moments.mean, params, end, layers),
            "norm": _each(layers, leaves_by_path(params), lambda stack: jnp.max(SPECTRAL.norm(stack))),
        }
        return {quantity: measured[quantity] for quantity in QUANTITIES}

    def probe(params, state, batch, part_gradients, key):
        zeros = {quantity: jnp.zeros(len(layers)) for quantity in QUANTITIES}
        return jax.lax.cond(measuring, lambda: measure(params, part_gradients, batch, key), lambda: zeros)

    return probe


def _noise(moments: Moments, layers: Sequence[Layer], config: Config) -> PerLayer:
    scales = {
        geometry.name: moments.estimate_leaves(config.batch_size, geometry)
        for geometry in (EUCLIDEAN, SIGN, SPECTRAL)
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
        f"noise_{name}": jnp.stack([estimates[layer.path].value for layer in layers])
        for name, estimates in scales.items()
    }
    return {**noise, "index": jnp.clip(jnp.stack(index), -LARGEST_INDEX, LARGEST_INDEX)}


def _curvature(
    params: PyTree,
    layers: Sequence[Layer],
    config: Config,
    workload: Workload,
    data: PyTree,
    key: PRNGKeyArray,
) -> PerLayer:
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
) -> PerLayer:
    """NaN where nothing dense or convolutional enters, as with embeddings."""
    inputs = captured_inputs(workload.loss, params, batch, key)
    ranks = [stable_rank(inputs[layer.path]) if layer.path in inputs else jnp.nan for layer in layers]
    return {"stable_rank": jnp.stack([jnp.asarray(rank) for rank in ranks])}


def _path(gradient: PyTree, params: PyTree, end: PyTree, layers: Sequence[Layer]) -> PerLayer:
    trees = [leaves_by_path(tree) for tree in (gradient, params, end)]
    paths = [path_geometry(*(leaves[layer.path] for leaves in trees)) for layer in layers]
    return {name: jnp.stack([getattr(path, name) for path in paths]) for name in ("rsi", "eb", "cosine")}


def _each(
    layers: Sequence[Layer], leaves: Mapping[str, Array], measure: Callable[[Array], Array]
) -> Float[Array, "layers"]:
    """The mean over a layer's blocks of `measure` of their matrices."""
    blocks = [[measure(stack) for stack in layer.view.split(leaves[layer.path])] for layer in layers]
    return jnp.stack([jnp.mean(jnp.stack(values)) for values in blocks])
