"""The runs of a study of path geometry: measured ones, then the schedule they prescribe against others.

Prescribed is, at each step, the learning rate RSI / EB² that was measured.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from experiments.path_geometry.config import BASELINE, PRESCRIBED, UNTUNED, Config
from experiments.path_geometry.paths import (
    LABELS,
    RANDOM_LABELS,
    VECTORS,
    Group,
    Paths,
    path_claims,
    read_paths,
    schedule_claims,
)
from experiments.study.options.metrics import curve_columns
from experiments.study.running.runs import Runner, Runs
from experiments.study.showing.claims import Claim
from experiments.study.storage.journal import Tally, label
from experiments.study.training.optimizers import OPTIMIZERS
from experiments.study.training.programs import Program, clipped, final_metrics, trainer
from experiments.study.training.replay import MeasuredTrial, replayed
from experiments.study.training.shape_runs import shape_runner
from experiments.study.training.tuning import CONFIRM
from geometry import path_geometry
from schedules import Family
from schedules.search import (
    STRATEGIES,
    Candidate,
    Rung,
    SearchSpace,
    Standing,
    Winner,
    confirm,
    named_key,
    search_shapes,
    standings,
)
from workloads import Run, Workload
from workloads.training import Probe

SMOOTHED = 3  # neighbouring measurements averaged


def prescribed_rates(steps: Float[np.ndarray, "replicates probes"]) -> Float[np.ndarray, "probes"]:
    """The learning rate at each probed step: the median of the locally optimal steps over runs, at least 0,
    averaged with its neighbours (at the ends with the one there is).

    >>> prescribed_rates(np.array([[3.0, 6.0, 3.0], [3.0, 6.0, 3.0]])).tolist()
    [4.5, 4.0, 4.5]
    """
    median = np.maximum(np.median(steps, axis=0), 0)
    window = np.ones(SMOOTHED)
    return np.convolve(median, window, "same") / np.convolve(np.ones_like(median), window, "same")


def prescribed_family(rates: Float[np.ndarray, "probes"], probe_every: int, num_steps: int) -> Family:
    """A family without parameters whose one shape goes through the prescribed rates, over their largest;
    straight between probed steps, and level after the last."""
    fractions = jnp.asarray(np.arange(len(rates)) * probe_every / num_steps, jnp.float32)
    heights = jnp.asarray(rates / np.max(rates), jnp.float32)
    return Family(PRESCRIBED, lambda x: jnp.interp(x, fractions, heights), domain={}, space={})


def untuned(rates: Float[np.ndarray, "probes"], family: Family) -> Candidate:
    """The prescribed family's one shape with the prescribed rates themselves."""
    return Candidate(replace(family, name=UNTUNED), 0, {}, float(np.max(rates)))


class Results(NamedTuple):
    """A finished study.

    Attributes:
      config: what was measured.
      paths: the measured paths.
      claims: about paths, then about the prescribed schedule.
      standings: the schedules, best first.
      medians: by schedule, those of all metrics over the confirming runs.
      tally: how many runs there were.
    """

    config: Config
    paths: Paths
    claims: tuple[Claim, ...]
    standings: tuple[Standing, ...]
    medians: Mapping[str, Mapping[str, float]]
    tally: Tally


def conclude(config: Config, runs: Runs) -> Results:
    """Measure all paths, try the schedule that they prescribe, and judge the claims."""
    for optimizer, batch_size in itertools.product(config.optimizers, config.batch_sizes):
        make_runner = partial(path_runner, optimizer, batch_size, config, runs)
        evaluate = runs.evaluator(make_runner, config.metric, config.replicates)
        for labels in LABELS:
            evaluate(path_trials(Group(optimizer, batch_size, labels), config))
    paths = read_paths(runs.journal, config)
    ranked = standings(contest(paths, config, runs), (BASELINE,), config.confidence)
    claims = (*path_claims(paths, config), *schedule_claims(ranked, config.metric))
    return Results(config, paths, claims, ranked, runs.journal.medians(CONFIRM), runs.journal.tally())


def path_trials(group: Group, config: Config) -> list[MeasuredTrial]:
    """The measured runs of a group; the key of a replicate is the same in all groups."""
    optimizer, size, labels = group
    place = labels, optimizer, config.batch_sizes.index(size), label(batch_size=size)
    rate = config.peaks[optimizer]
    return [MeasuredTrial((*place, replicate), rate, "path") for replicate in range(config.replicates)]


def contest(paths: Paths, config: Config, runs: Runs) -> dict[str, Winner]:
    """The prescribed schedule, as it is and with its base learning rate tuned, and the searched families, all
    by the procedure of `schedules.search`."""
    make_runner = partial(shape_runner, config, runs, optax.sgd, batch_size=config.middle_batch)
    evaluate = runs.evaluator(make_runner, config.metric, config.confirm_replicates)
    steps = paths.series[Group("sgd", config.middle_batch)]["gradient_step"]
    rates = np.array(runs.once("prescribed rates", lambda: prescribed_rates(steps).tolist()))
    family = prescribed_family(rates, config.probe_every, config.num_steps)
    key = named_key(jax.random.key(config.seed), "schedules")
    spaces = [SearchSpace(shapes, config.learning_rate_range) for shapes in (*config.searched, family)]
    findings = search_shapes(spaces, STRATEGIES["trust_region"], config.budget, key, evaluate, runs.once)
    return findings.winners | confirm(
        {UNTUNED: untuned(rates, family)},
        Rung(config.budget.confirm_replicates, config.budget.num_steps),
        evaluate,
    )


def path_runner(optimizer: str, batch_size: int, config: Config, runs: Runs) -> Runner:
    """What trains and replays: the final metrics, whether the replay was exact, and what was measured as
    "gradient_cosine@STEP" and the like."""
    workload = runs.workload
    shapes = jax.eval_shape(workload.init, jax.random.key(0))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))

    def train(row, data):
        rate, key = row["learning_rate"], row["key"]
        data = _with_labels(data, row["random_labels"], named_key(key, "labels"))
        run, exact = replayed_path(optimizer, batch_size, config, workload, data, rate, key)
        return run.metrics, run.probes, exact

    def columns(results):
        metrics, probes, exact = results
        counts = {"exact_replay": exact, "parameters": np.full(len(exact), parameters)}
        measured = {
            f"{vector}_{quantity}": values[..., row]
            for quantity, values in probes.items()
            for row, vector in enumerate(VECTORS)
        }
        return final_metrics(metrics) | counts | curve_columns(measured, config.probed_steps)

    def numbers(trial):
        return {"learning_rate": trial.base_lr, "random_labels": trial.stage == RANDOM_LABELS}

    return Program(train, columns).runner(workload.data, config.seed, numbers)


def replayed_path(
    optimizer: str,
    batch_size: int,
    config: Config,
    workload: Workload,
    data: Any,
    learning_rate: Float[Array, ""],
    key: PRNGKeyArray,
) -> tuple[Run, Bool[Array, ""]]:
    """See `replayed`: a run and its path towards its end, measured at every probed step."""
    rates = learning_rate * config.multipliers
    chain = OPTIMIZERS[optimizer].chain(0.0)
    step = clipped(chain, config.clip_norm)(lambda count: rates[count])

    def train(end, measuring):
        options = {"probe": _towards(end, step), "probe_every": config.probe_every}
        stages = trainer(config, workload, data, chain, rates, key, batch_size=batch_size, **options)
        return stages.whole(config.num_steps)

    return replayed(train, jax.eval_shape(workload.init, key))


def _towards(end: PyTree, step: optax.GradientTransformation) -> Probe:
    """Measure the path towards `end`, all `VECTORS` in a row."""

    def measure(params, state, batch, part_gradients, key):
        gradient = jax.tree.map(lambda g: jnp.mean(g, axis=0), part_gradients)
        updates, _ = step.update(gradient, state, params)
        flat, unravel = ravel_pytree(params)
        noise = unravel(jax.random.normal(key, flat.shape, flat.dtype))
        vectors = gradient, jax.tree.map(jnp.negative, updates), noise
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *vectors)
        return jax.vmap(path_geometry, in_axes=(0, None, None))(stacked, params, end)._asdict()

    return measure


def _with_labels(data: Any, random: Bool[Array, ""], key: PRNGKeyArray) -> Any:
    """The data, its training labels shuffled among the examples where `random`."""
    shuffled = jax.random.permutation(key, data.train_labels)
    return data._replace(train_labels=jnp.where(random, shuffled, data.train_labels))
