"""The runs of the study: every contestant tuned and confirmed."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree

import optim
import workloads
from experiments.local_steps.config import REFERENCE, Config, Contestant, labels
from experiments.local_steps.outcome import Outcome
from experiments.local_steps.traffic import traffic
from experiments.study.options.metrics import curve_columns, recorded_curves
from experiments.study.running.evaluation import Evaluate
from experiments.study.running.runs import Runner, Runs
from experiments.study.training.programs import Program, final_metrics
from experiments.study.training.tuning import CONFIRM, Outcomes, Trial, Tuned, tune
from geometry.matrices import leaves_by_path
from schedules.search import named_key
from workloads import Workload

AXIS = "workers"
DRIFT = "drift"  # of a run, as the journal calls it
INNER = {"local": optax.adam, "lion": functools.partial(optax.lion, weight_decay=0.0)}
SCALES = {"vote": "vote", "lion_cub": "l1"}


class Results(Outcomes[Config, Contestant, Outcome]):
    """A finished study; see `Outcomes`."""

    def settings(self) -> dict[str, list[Outcome]]:
        """By workers and their shards, the best outcome first."""
        grouped: dict[str, list[Outcome]] = {}
        for contestant, outcome in self.outcomes.items():
            grouped.setdefault(f"{contestant.workers} workers, {contestant.shards} shards", []).append(
                outcome
            )
        return {
            title: sorted(group, key=lambda o: np.median(o.tuned.scores)) for title, group in grouped.items()
        }


def conclude(config: Config, runs: Runs) -> Results:
    """Tune every contestant, and hold it against ddp with as many workers on such shards."""
    numbers = runs.once("numbers", lambda: sent_numbers(config, runs.workload))

    @functools.cache
    def evaluator(family: str, workers: int, method: str | None) -> Evaluate:
        make = functools.partial(runner, family, workers, method, config, runs)
        return runs.evaluator(make, config.metric, config.chunk_runs)

    outcomes: dict[Contestant, Outcome] = {}
    for contestant in config.contestants:
        family = contestant.rules.family
        method = None if family in INNER else contestant.method
        evaluate = evaluator(family, contestant.workers, method)
        tuned = tune(contestant, contestant.rules.centre, config, evaluate)
        reference = outcomes.get(reference_of(contestant, config))
        outcomes[contestant] = outcome(contestant, tuned, reference, config, runs, numbers)
    return Results(config, outcomes, runs.journal.tally())


def reference_of(contestant: Contestant, config: Config) -> Contestant:
    """Its ddp: for one lonely worker, the first."""
    if contestant.rules.lonely:
        return Contestant(REFERENCE, config.workers[0], config.shards[0])
    return Contestant(REFERENCE, contestant.workers, contestant.shards)


def outcome(
    contestant: Contestant,
    tuned: Tuned,
    reference: Outcome | None,
    config: Config,
    runs: Runs,
    numbers: Mapping[str, int],
) -> Outcome:
    """What the journal holds of the confirming runs."""
    rows = runs.journal.group(CONFIRM, contestant.name)
    return Outcome(
        contestant,
        tuned,
        traffic(contestant, config, numbers),
        recorded_curves(config.metric, config.curve_steps, [row.metrics for row in rows]),
        float(np.median([row.metrics[DRIFT] for row in rows])),
        reference,
    )


def runner(family: str, workers: int, method: str | None, config: Config, runs: Runs) -> Runner:
    """What trains all contestants of a family with that many workers: one compiled program."""
    train = functools.partial(trained, family, workers, method, config, runs.workload)
    data = runs.workload.data
    numbers = functools.partial(row_of, config, all_shards(workers, config, data))
    return Program(train, functools.partial(columns, config)).runner(data, config.seed, numbers)


def all_shards(workers: int, config: Config, data: PyTree) -> dict[str, Int[np.ndarray, "workers shard"]]:
    """The examples of each worker, by kind; the same for all seeds, which draw from them in their order."""
    marks = jnp.asarray(labels(data))
    key = named_key(jax.random.key(config.seed), "shards", workers)
    return {
        "even": np.asarray(workloads.even_shards(key, len(marks), workers)),
        "skewed": np.asarray(workloads.skewed_shards(marks, workers)),
    }


def row_of(config: Config, shards: Mapping[str, np.ndarray], trial: Trial) -> dict[str, Any]:
    """The numbers of a run."""
    contestant = trial.contestant
    rate, momentum = contestant.rules.outer
    return {
        **trial.numbers,
        "start": config.start(contestant),
        "outer_rate": rate,
        "outer_momentum": momentum,
        "shards": shards[contestant.shards],
    }


def trained(
    family: str,
    workers: int,
    method: str | None,
    config: Config,
    workload: Workload,
    row: Mapping[str, Array],
    data: PyTree,
) -> tuple[dict[str, Float[Array, "evaluations"]], Float[Array, "steps"]]:
    """The metrics along one run, and how far its workers drift before each step."""
    coins = jax.random.fold_in(row["key"], 1)

    def optimizer(schedule):
        return optim.on_workers(transformation(family, workers, method, schedule, row, coins), workers, AXIS)

    run = workloads.train(
        workloads.sharded(workload, row["shards"]),
        data,
        optimizer,
        row["learning_rate"] * config.multipliers,
        workloads.run_keys(row["key"]),
        batch_size=config.batch_size,
        evaluate_at=config.curve_steps,
        workers=workers,
        hooks=optim,
        probe=lambda params, *_: {DRIFT: drift(params)},
    )
    return run.metrics, run.probes[DRIFT]


def transformation(
    family: str,
    workers: int,
    method: str | None,
    schedule: optax.Schedule,
    row: Mapping[str, Array],
    key: Array,
) -> optax.GradientTransformation:
    """That of one worker; of the families with boundaries, by the numbers of the run."""
    if family == "signs":
        return optim.lion_cub(
            schedule, axis_name=AXIS, workers=workers, scale=SCALES[method], weight_decay=0.0
        )
    if family == "low_rank":
        return getattr(optim, method)(schedule, axis_name=AXIS, scale="rms")
    return optim.local_steps(
        INNER[family],
        optax.sgd(row["outer_rate"], row["outer_momentum"], nesterov=True),
        learning_rate=schedule,
        every=row["every"],
        start=row["start"],
        mix_probability=row["mix_probability"],
        mix=lambda step: row["mix"] * schedule(step),
        axis_name=AXIS,
        workers=workers,
        key=key,
    )


def drift(params: PyTree) -> Float[Array, ""]:
    """The root mean square over workers of ‖x_k - x̄‖, over ‖x̄‖."""
    mean = jax.tree.map(lambda stack: jnp.mean(stack, axis=0, keepdims=True), params)
    differences = jax.tree.map(lambda stack, centre: stack - centre, params, mean)
    workers = jax.tree.leaves(params)[0].shape[0]
    return optax.tree.norm(differences) / (workers**0.5 * optax.tree.norm(mean))


def columns(config: Config, results: tuple[Mapping[str, np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Of all runs: the metrics at the end, the scored one along the way, and the drift."""
    metrics, drifts = results
    curve = curve_columns({config.metric: metrics[config.metric]}, config.curve_steps)
    return final_metrics(metrics) | curve | {DRIFT: drifts.mean(axis=1)}


def sent_numbers(config: Config, workload: Workload) -> dict[str, int]:
    """How many numbers are in one all-reduce: of all parameters, and of what low-rank methods send."""
    params = jax.eval_shape(workload.init, jax.random.key(0))
    methods = [name for name in config.methods if name in ("dion", "orth_dion")]
    return {"params": _size(params), **{name: _thin_size(name, params) for name in methods}}


def _thin_size(method: str, params: PyTree) -> int:
    """Of M V and Mᵀ U of every matrix, (m + n) r, and of all other parameters."""
    state = jax.eval_shape(getattr(optim, method)(0.1).init, params)
    is_low_rank = lambda node: hasattr(node, "warm_starts")  # noqa: E731
    (low_rank,) = [part for part in jax.tree.leaves(state, is_leaf=is_low_rank) if is_low_rank(part)]
    sent = _size(params)
    for path, buffer in leaves_by_path(low_rank.buffers).items():
        starts = low_rank.warm_starts[path]
        for matrices, long, rank in (start.shape for start in starts):
            short = buffer.size // (len(starts) * matrices * long)
            sent += matrices * ((long + short) * rank - long * short)
    return sent


def _size(tree: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
