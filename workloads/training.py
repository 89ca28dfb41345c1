"""One training run: a pure function of a learning-rate table and keys, one `lax.scan` over its steps."""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

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
    """A finished run: final parameters, metrics at each evaluated step, probe records at each probed one."""

    params: PyTree
    metrics: dict[str, Float[Array, "evaluations"]]
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
    probe: Probe | None = None,
    probe_every: int = 1,
) -> Run:
    """Train for as many steps as there are learning rates.

    Args:
      workload: its functions; its own `data` is not read.
      data: the data to train on, shaped as `workload.data`.
      optimizer: schedule → gradient transformation, such as `optax.adam`; built inside the run, so that
        learning rates (and whatever else the function closes over) may be traced.
      learning_rates: one a step.
      keys: see `run_keys`.
      batch_size: examples a step.
      evaluate_at: after how many updates to call `workload.evaluate`, in ascending order within
        [0, steps]; at the end alone when None.
      parts: each batch is split in this many equal parts whose gradients are averaged; a probe gets them
        stacked on a leading axis, and so does the transformation's `update`, as `part_gradients`.
      probe: called at steps 0, probe_every, 2·probe_every, …; see `Probe`.
      probe_every: steps from one probe to the next.

    Raises:
      ValueError: `evaluate_at`, `parts` or `probe_every` is not as described, or there are no steps.
    """
    num_steps = learning_rates.shape[0]
    evaluate_at = (num_steps,) if evaluate_at is None else tuple(evaluate_at)
    _check_options(num_steps, batch_size, evaluate_at, parts, probe_every)
    probe, probe_at = (probe, range(0, num_steps, probe_every)) if probe else (_no_probe, ())
    transformation = optax.with_extra_args_support(optimizer(lambda count: learning_rates[count]))
    gradients_of = _part_gradients(workload, parts)

    def evaluate(params):
        return workload.evaluate(params, data)

    def step(carry, inputs):
        params, state, metrics, records = carry
        t, indices, key = inputs
        batch = workload.batch(data, indices)
        gradients = gradients_of(params, batch, key)
        probe_key = jax.random.fold_in(keys.probe, t)
        metrics = _record(metrics, evaluate_at, t, num_steps, lambda: evaluate(params))
        records = _record(
            records, probe_at, t, num_steps, lambda: probe(params, state, batch, gradients, probe_key)
        )
        # a chain of sums is one fused loop; on a CPU, XLA's mean over a leading axis is thirty times slower
        mean = jax.tree.map(lambda stack: sum(jnp.unstack(stack)) / parts, gradients)
        updates, state = transformation.update(mean, state, params, part_gradients=gradients)
        return (optax.apply_updates(params, updates), state, metrics, records), None

    params = workload.init(keys.init)
    state = transformation.init(params)
    indices = workload.indices(keys.data, batch_size, num_steps)
    batch = jax.eval_shape(workload.batch, data, indices[0])
    gradients = jax.eval_shape(gradients_of, params, batch, keys.loss)
    metrics = _empty_records(evaluate_at, evaluate, params)
    records = _empty_records(probe_at, probe, params, state, batch, gradients, keys.probe)
    steps = jnp.arange(num_steps), indices, jax.random.split(keys.loss, num_steps)
    (params, _, metrics, records), _ = jax.lax.scan(step, (params, state, metrics, records), steps)
    if num_steps in evaluate_at:
        metrics = jax.tree.map(lambda slots, last: slots.at[-1].set(last), metrics, evaluate(params))
    return Run(params, metrics, records)


def _no_probe(*_) -> dict[str, PyTree]:
    return {}


def _part_gradients(workload: Workload, parts: int) -> Callable[[PyTree, PyTree, PRNGKeyArray], PyTree]:
    """(params, batch, key) → the gradients of the batch's equal parts, stacked on a leading axis."""
    gradient = jax.grad(workload.loss)

    def whole(params, batch, key):
        return jax.tree.map(lambda g: g[None], gradient(params, batch, key))

    def split(params, batch, key):
        batches = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)
        return jax.vmap(gradient, in_axes=(None, 0, 0))(params, batches, jax.random.split(key, parts))

    return whole if parts == 1 else split


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


def _check_options(
    num_steps: int, batch_size: int, evaluate_at: tuple[int, ...], parts: int, probe_every: int
):
    if num_steps < 1:
        raise ValueError("learning_rates must hold at least one step")
    ascending = all(a < b for a, b in itertools.pairwise(evaluate_at))
    if not (evaluate_at and ascending and evaluate_at[0] >= 0 and evaluate_at[-1] <= num_steps):
        raise ValueError(f"evaluate_at must ascend strictly within [0, {num_steps}], got {evaluate_at}")
    if parts < 1 or batch_size % parts:
        raise ValueError(f"parts must be a positive divisor of batch_size={batch_size}, got {parts}")
    if probe_every < 1:
        raise ValueError(f"probe_every must be at least 1, got {probe_every}")
