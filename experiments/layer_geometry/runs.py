"""The runs of a study of layer geometry: measured ones, then three ways to choose each layer's geometry."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

import optim
from experiments.layer_geometry.config import BY_INDEX, CONTESTANTS, SIGN_ONLY, SPECTRAL_ONLY, Config
from experiments.layer_geometry.measurement import KINDS, MEASURE, layers_of, measured_run
from experiments.layer_geometry.series import Series, choice_claims, layer_claims, read_series
from experiments.study.running.runs import Runner, Runs
from experiments.study.showing.claims import Claim
from experiments.study.storage.journal import Tally, label
from experiments.study.training.programs import Program, final_metrics, trainer
from experiments.study.training.replay import MeasuredTrial
from experiments.study.training.tuning import CONFIRM, Named, tune
from schedules.search import Standing, standings


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was measured.
      series: of every layer along training.
      claims: about layers, then about the choice of geometry.
      standings: the ways to choose, best first.
      medians: by way to choose, those of all metrics over the confirming runs.
      tally: how many runs there were.
    """

    config: Config
    series: Series
    claims: tuple[Claim, ...]
    standings: tuple[Standing, ...]
    medians: Mapping[str, Mapping[str, float]]
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Measure the layers, tune every way to choose their geometry, and judge the claims.

    The layers are those of the workload, which even a report needs: none is drawn of a caller's own one.
    """
    runs.evaluator(partial(measurement_runner, config, runs), config.metric, chunk_runs=None)(
        measured_trials(config)
    )
    tuned = {}
    for name in CONTESTANTS:
        make_runner = partial(choosing_runner, name, config, runs)
        evaluate = runs.evaluator(make_runner, config.metric, config.runs_per_rate)
        tuned[name] = tune(Named(name), config.central_rate, config, evaluate)
    series = read_series(runs.journal, layers_of(runs.workload), config)
    ranked = standings(tuned, (SPECTRAL_ONLY,), config.confidence)
    claims = (*layer_claims(series, config), *choice_claims(ranked, config))
    return Results(config, series, claims, ranked, runs.journal.final_medians(CONFIRM), runs.journal.tally())


def measured_trials(config: Config) -> list[MeasuredTrial]:
    place, rate = (MEASURE, "muon", 0, label(decay=config.decay)), config.learning_rate
    return [MeasuredTrial((*place, replicate), rate, MEASURE) for replicate in range(config.replicates)]


def measurement_runner(config: Config, runs: Runs) -> Runner:
    """What trains and replays: the final metrics, and what was measured as "block_0/up:index@STEP" and the
    like."""
    workload, layers = runs.workload, layers_of(runs.workload)

    def train(row, data):
        run = measured_run(config, workload, data, row["key"])
        return run.metrics, run.probes

    def columns(results):
        metrics, probes = results
        measured = {
            f"{layer.name}:{quantity}@{step}": values[:, place, row]
            for quantity, values in probes.items()
            for place, step in enumerate(config.probed_steps)
            for row, layer in enumerate(layers)
        }
        return final_metrics(metrics) | measured

    return Program(train, columns).runner(workload.data, config.seed, numbers=lambda trial: {})


def choosing_runner(name: str, config: Config, runs: Runs) -> Runner:
    """What trains with each layer's geometry chosen so: the final metrics, and which layers were spectral as
    "block_0/up:spectral@STEP"."""
    workload, layers = runs.workload, layers_of(runs.workload)

    def geometry_in_use(params, state, batch, part_gradients, key):
        spectral = optax.tree.get(state, "spectral")
        return {layer.name: spectral[layer.path] for layer in layers}

    def train(row, data):
        peak = row["learning_rate"]
        run = trainer(
            config,
            workload,
            data,
            lambda schedule: optimizer(name, config, schedule, row["decay"] / peak),
            peak * config.multipliers,
            row["key"],
            batch_size=config.batch_size,
            parts=config.parts,
            probe=geometry_in_use,
            probe_every=config.index_every,
        ).whole(config.num_steps)
        return run.metrics, run.probes

    def columns(results):
        metrics, probes = results
        return final_metrics(metrics) | {
            f"{layer.name}:spectral@{step}": probes[layer.name][:, place]
            for layer in layers
            for place, step in enumerate(config.recorded_steps)
        }

    return Program(train, columns).runner(workload.data, config.seed)


def optimizer(
    name: str, config: Config, schedule: optax.Schedule, weight_decay: ArrayLike
) -> optax.GradientTransformation:
    """Both geometries with momentum and Adam's root mean square, so that one learning rate serves all; all
    matrices may change theirs, and back again."""
    index = optim.NoiseIndex(config.batch_size, config.tau) if name == BY_INDEX else undecided
    initial = "sign" if name == SIGN_ONLY else "spectral"
    choice = optim.Choice(index, every=config.index_every, lock=False, initial=initial, kinds=KINDS)
    return optim.spec_sign(
        schedule, choice=choice, weight_decay=weight_decay, fallback_weight_decay=weight_decay
    )


def undecided(gradients: PyTree, **extra) -> PyTree:
    """An index that leaves every geometry as it is."""
    return jax.tree.map(lambda leaf: jnp.zeros([]), gradients)
