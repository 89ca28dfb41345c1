"""Networks trained until they share a training loss, and what is measured of them."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from experiments.generalization.all_measures.config import AllMeasures, Architecture, Trial
from experiments.generalization.measures import NUM_CLASSES
from experiments.study.training.cross_validation import in_cluster
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, Row, trainer
from geometry.measures import Network, measured
from schedules.search import named_key
from workloads import Stages, run_keys
from workloads.datasets.all_digits import IMAGES, Copies
from workloads.images import MLP, ImageData, classification

CLUSTERS = 36  # of images, by their place: intervals resample them
ENVIRONMENTS = ("as trained", "shifted")
LOSS, STEPS = "train_loss", "steps"


class Trained(NamedTuple):
    """Where the training of a network ended: its parameters, and after how many steps."""

    params: PyTree
    steps: Int[Array, ""]


def start(trial: Trial, config: AllMeasures) -> int:
    """The first of the images that a network trains on: replicates begin at equal distances."""
    return trial.replicate * IMAGES // config.replicates


def tested_images(trial: Trial, config: AllMeasures) -> Int[np.ndarray, "clusters"]:
    """How many of each cluster a network is tested on."""
    places = (start(trial, config) + np.arange(config.train_size, IMAGES)) % IMAGES
    return np.bincount(_cluster_of(places), minlength=CLUSTERS)


def program(architecture: Architecture, config: AllMeasures) -> Program:
    """Pairs of networks that two seeds make of the same images, and all that is measured of the first."""
    hidden = (architecture.width,) * architecture.depth

    def train(row: Row, data: Copies) -> Trained:
        images, labels = data.images[0], data.labels
        places = (row["start"] + jnp.arange(config.train_size)) % IMAGES
        own = ImageData(images[places], labels[places], images[places], labels[places])
        workload = classification(own, _model(hidden))

        def trained(seed):
            keys = run_keys(jax.random.fold_in(row["key"], seed))
            order = workload.indices(keys.data, architecture.batch_size, config.most_steps)
            stages = trainer(
                config,
                # drawn once for all checks
                workload._replace(indices=lambda *_: order, evaluate=lambda *_: {}),
                own,
                OPTIMIZERS[architecture.optimizer].chain(row["decay"] / row["learning_rate"]),
                jnp.full(config.most_steps, row["learning_rate"]),
                jax.random.fold_in(row["key"], seed),
                batch_size=architecture.batch_size,
            )
            return to_target(stages, lambda params: workload.evaluate(params, own)["train_loss"], config)

        return jax.lax.map(trained, jnp.arange(2))

    return Program(train, columns, measure=_measurement(hidden, config))


def to_target(stages: Stages, loss: Callable[[PyTree], Float[Array, ""]], config: AllMeasures) -> Trained:
    """A training run up to where the loss first is at most the target, or to its end."""

    def unfinished(trained):
        run, steps = trained
        return (loss(run.evaluated) > config.target_loss) & (steps < config.most_steps)

    def continued(trained):
        run, steps = trained
        return stages.advance(run, steps, steps + config.check_every), steps + config.check_every

    run, steps = jax.lax.while_loop(unfinished, continued, (stages.begin(), jnp.int32(0)))
    return Trained(run.evaluated, steps)


def columns(results: Mapping[str, Array]) -> dict[str, Float[np.ndarray, "runs"]]:
    """Of all networks, as metrics of the journal."""
    wrong = results.pop("wrong")
    return results | {
        in_cluster(environment, cluster): wrong[:, place, cluster]
        for place, environment in enumerate(ENVIRONMENTS)
        for cluster in range(CLUSTERS)
    }


@functools.cache
def _model(hidden: tuple[int, ...]) -> MLP:
    return MLP(NUM_CLASSES, hidden)


@functools.cache
def _measurement(hidden: tuple[int, ...], config: AllMeasures) -> Callable[[Row, Trained, Copies], PyTree]:
    """(row, a pair of trained networks, data) → what is measured of the first; one for all optimizers."""
    model = _model(hidden)

    def measure(row, pair, data):
        params, twin = (jax.tree.map(lambda leaf, k=k: leaf[k], pair.params) for k in range(2))
        own = (row["start"] + jnp.arange(IMAGES)) % IMAGES
        places, tested = jnp.split(own, [config.train_size])
        images, labels = data.images[0, places], data.labels[places]
        first_key = run_keys(jax.random.fold_in(row["key"], 0)).init
        network = Network(
            model.apply,
            params,
            model.init(first_key, images[:1]),
            images,
            labels,
            twin,
            named_key(row["key"], "measures"),
        )
        wrong = jax.vmap(lambda copy: jnp.argmax(model.apply(params, copy), axis=1) != data.labels[tested])(
            data.images[:, tested]
        )
        return {
            **measured(network, config.families),
            LOSS: network.loss(params),
            STEPS: pair.steps[0].astype(float),
            "wrong": jnp.stack([_by_cluster(wrong[:1], tested), _by_cluster(wrong[1:], tested)]),
        }

    return measure


def _by_cluster(
    wrong: Bool[Array, "copies images"], places: Int[Array, "images"]
) -> Float[Array, "clusters"]:
    return jax.ops.segment_sum(jnp.sum(wrong, axis=0).astype(float), _cluster_of(places), CLUSTERS)


def _cluster_of(places: Int[Array | np.ndarray, "images"]) -> Int[Array | np.ndarray, "images"]:
    return places * CLUSTERS // IMAGES
