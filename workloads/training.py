"""One training run: a pure function of a learning-rate table and keys, one `lax.scan` over its steps."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, ScalarLike

from workloads.gradients import part_gradients
from workloads.mesh import data_shards
from workloads.workload import Workload

Optimizer = Callable[[optax.Schedule], optax.GradientTransformation]
# (params, optimizer state, batch, part gradients, key) → what to record, measured before the step's update
Probe = Callable[[PyTree, PyTree, PyTree, PyTree, PRNGKeyArray], dict[str, PyTree]]


class RunKeys(NamedTuple):
    """What a run draws from: initialisation, data order, the loss's own noise, and probes."""

    init: PRNGKeyArray
    data: PRNGKeyArray
    loss: PRNGKeyArray
    probe: PRNGKeyArray


def run_keys(key: PRNGKeyArray) -> RunKeys:
    """The keys of the run that `key` stands for."""
    return RunKeys(*jax.random.split(key, len(RunKeys._fields)))


class Run(NamedTuple):
    """A finished run.

    Attributes:
      params: the final parameters.
      average: the average of the parameters that was evaluated, see `average_decay`; None without.
      metrics: what `workload.evaluate` returned at each evaluated step.
      losses: of each step's batch, before the step's update. Take every k-th for a curve of any stride: what
        a compiled function does not return is not kept.
      probes: the probe's records at each probed step.
    """

    params: PyTree
    average: PyTree | None
    metrics: dict[str, Float[Array, "evaluations"]]
    losses: Float[Array, "steps"]
    probes: dict[str, PyTree]


def train(
    workload: Workload,
    data: PyTree,
    optimizer: Optimizer,
    learning_rates: Float[Array, "steps"],
    keys: RunKeys,
    *,
    batch_size: int,
    evaluate_at: Sequence[int] | None = None,
    parts: int = 1,
    microbatches: int = 1,
    average_decay: ScalarLike | None = None,
    probe: Probe | None = None,
    probe_every: int = 1,
) -> Run:
    """Train for as many steps as there are learning rates.

    Where the mesh in scope has an axis "data" (see `run_mesh`), its devices share the examples of each batch:
    the run is the same up to round-off.

    Args:
      workload: its functions; its own `data` is not read.
      data: the data to train on, shaped as `workload.data`.
      optimizer: schedule → gradient transformation, such as `optax.adam`; built inside the run, so that
        learning rates (and whatever else the function closes over) may be traced. Gradients are clipped by a
        transformation in its chain, such as `optax.clip_by_global_norm`.
      learning_rates: one a step.
      keys: see `run_keys`.
      batch_size: examples a step.
      evaluate_at: after how many updates to call `workload.evaluate`, in ascending order within
        [0, steps]; at the end alone when None.
      parts: each batch is split in this many equal parts whose gradients are averaged; a probe gets them
        stacked on a leading axis, and so does the transformation's `update`, as `part_gradients`.
      microbatches: the gradient of each part is accumulated over this many equal pieces, one after the
        other: as much less memory for a batch.
      average_decay: evaluate an exponential moving average of the parameters, with this decay d in [0, 1)
        and without a bias towards the start: after t updates θ_s weighs d^(t-s) (1 - d) / (1 - d^t). The
        parameters themselves are evaluated when None.
      probe: called at steps 0, probe_every, 2·probe_every, …; see `Probe`.
      probe_every: steps from one probe to the next.

    Raises:
      ValueError: `evaluate_at`, `parts`, `microbatches`, `average_decay` or `probe_every` is not as
        described, there are no steps, or devices that share a batch do not divide it.
    """
    num_steps = learning_rates.shape[0]
    evaluate_at = (num_steps,) if evaluate_at is None else tuple(evaluate_at)
    _check_steps(num_steps, evaluate_at, probe_every)
    _check_pieces(batch_size, parts, microbatches)
    _check_decay(average_decay)
    probe, probe_at = (probe, range(0, num_steps, probe_every)) if probe else (_no_probe, ())
    transformation = optax.with_extra_args_support(optimizer(lambda count: learning_rates[count]))
    gradients_of = part_gradients(workload, parts, microbatches)

    def evaluate(params, average):
        return workload.evaluate(params if average is None else average, data)

    def step(carry, inputs):
        params, average, state, metrics, records = carry
        t, indices, key = inputs
        loss, gradients = gradients_of(params, data, indices, key)

        def measure():
            batch = workload.batch(data, indices)
            return probe(params, state, batch, gradients, jax.random.fold_in(keys.probe, t))

        metrics = _record(metrics, evaluate_at, t, num_steps, lambda: evaluate(params, average))
        records = _record(records, probe_at, t, num_steps, measure)
        # a chain of sums is one fused loop; on a CPU, XLA's mean over a leading axis is thirty times slower
        mean = jax.tree.map(lambda stack: sum(jnp.unstack(stack)) / parts, gradients)
        updates, state = transformation.update(mean, state, params, part_gradients=gradients)
        params = optax.apply_updates(params, updates)
        return (params, _averaged(average, params, t, average_decay), state, metrics, records), loss

    params = workload.init(keys.init)
    average = None if average_decay is None else params
    state = transformation.init(params)
    indices = workload.indices(keys.data, batch_size, num_steps)
    batch = jax.eval_shape(workload.batch, data, indices[0])
    _, gradients = jax.eval_shape(gradients_of, params, data, indices[0], keys.loss)
    metrics = _empty_records(evaluate_at, evaluate, params, average)
    records = _empty_records(probe_at, probe, params, state, batch, gradients, keys.probe)
    steps = jnp.arange(num_steps), indices, jax.random.split(keys.loss, num_steps)
    carry, losses = jax.lax.scan(step, (params, average, state, metrics, records), steps)
    params, average, _, metrics, records = carry
    if num_steps in evaluate_at:
        last = evaluate(params, average)
        metrics = jax.tree.map(lambda slots, last: slots.at[-1].set(last), metrics, last)
    return Run(params, average, metrics, losses, records)


def _no_probe(*_) -> dict[str, PyTree]:
    return {}


def _averaged(average: PyTree, params: PyTree, t: Int[Array, ""], decay: ScalarLike | None) -> PyTree:
    """The average after update t + 1: its newest weighs (1 - d) / (1 - d^(t+1)), the first update all."""
    if average is None:
        return None
    return optax.incremental_update(params, average, (1 - decay) / (1 - decay ** (t + 1)))


def _empty_records(at: Sequence[int], measure: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
    """A slot for what `measure(*arguments)` returns at each of the steps `at`."""
    record = jax.eval_shape(measure, *arguments)
    return jax.tree.map(lambda leaf: jnp.zeros((len(at), *leaf.shape), leaf.dtype), record)


def _record(records: PyTree, at: Sequence[int], t: Array, num_steps: int, measure: Callable[[], PyTree]):
    """Write `measure()` into the next slot when `t` is among the steps `at`; nothing is computed otherwise.

    The step index is never batched, so under `vmap` the `cond` stays a branch.
    """
    slots = np.full(num_steps, -1)
    for slot, step in enumerate(at):
        if step < num_steps:
            slots[step] = slot
    if np.all(slots < 0):
        return records
    slot = jnp.asarray(slots)[t]

    def write():
        return jax.tree.map(lambda all_slots, value: all_slots.at[slot].set(value), records, measure())

    return jax.lax.cond(slot >= 0, write, lambda: records)


def _check_steps(num_steps: int, evaluate_at: tuple[int, ...], probe_every: int) -> None:
    if num_steps < 1:
        raise ValueError("learning_rates must hold at least one step")
    ascending = all(a < b for a, b in itertools.pairwise(evaluate_at))
    if not (evaluate_at and ascending and evaluate_at[0] >= 0 and evaluate_at[-1] <= num_steps):
        raise ValueError(f"evaluate_at must ascend strictly within [0, {num_steps}], got {evaluate_at}")
    if probe_every < 1:
        raise ValueError(f"probe_every must be at least 1, got {probe_every}")


def _check_pieces(batch_size: int, parts: int, microbatches: int) -> None:
    if parts < 1 or batch_size % parts:
        raise ValueError(f"parts must be a positive divisor of batch_size={batch_size}, got {parts}")
    examples = batch_size // parts
    if microbatches < 1 or examples % microbatches:
        raise ValueError(
            f"microbatches must be a positive divisor of the {examples} examples of a part,"
            f" got {microbatches}"
        )
    if examples // microbatches % data_shards():
        raise ValueError(
            f"batch_size must give each of the {data_shards()} devices that share a batch the same number of"
            f" examples, got {examples // microbatches} computed together"
        )


def _check_decay(decay: ScalarLike | None) -> None:
    if decay is not None and not isinstance(decay, jax.core.Tracer) and not 0 <= float(decay) < 1:
        raise ValueError(f"average_decay must be in [0, 1), got {decay}")
