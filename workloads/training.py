"""Training: a run as a pure function of a learning-rate table and keys, at once or in stages."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray, PyTree, ScalarLike

from workloads.gradients import (
    GradientFunction,
    MaxLogits,
    PartGradients,
    gradient_functions,
    max_logits_functions,
    mean_of_parts,
    part_gradients,
    worker_gradients,
)
from workloads.hooks import Hooks, Plain
from workloads.records import empty_slots, record
from workloads.run import Run, RunKeys, Stages
from workloads.run_checks import (
    check_average_decay,
    check_drawn,
    check_evaluated,
    check_pieces,
    check_rates,
    check_steps,
    check_workers,
)
from workloads.workload import Workload

Optimizer = Callable[..., optax.GradientTransformation]  # of a schedule, or of one a group of parameters
# (params, optimizer state, batch, part gradients, key) → what to record, measured before the step's update
Probe = Callable[[PyTree, PyTree, PyTree, PyTree, PRNGKeyArray], dict[str, PyTree]]


def train(
    workload: Workload,
    data: PyTree,
    optimizer: Optimizer,
    learning_rates: Float[Array, "*groups steps"],
    keys: RunKeys,
    **options: Any,
) -> Run:
    """Train for as many steps as there are learning rates, and evaluate at the end unless told otherwise.

    Arguments, options and errors are those of `trainer`.
    """
    stages = trainer(workload, data, optimizer, learning_rates, keys, **options)
    return stages.whole(learning_rates.shape[-1])


def trainer(
    workload: Workload,
    data: PyTree,
    optimizer: Optimizer,
    learning_rates: Float[Array, "*groups steps"],
    keys: RunKeys,
    *,
    batch_size: int,
    evaluate_at: Sequence[int] | None = None,
    parts: int = 1,
    microbatches: int = 1,
    average_decay: ScalarLike | None = None,
    workers: int | None = None,
    hooks: Hooks | None = None,
    probe: Probe | None = None,
    probe_every: int = 1,
) -> Stages:
    """The stages of a run with as many steps as there are learning rates; its state and result are a `Run`.

    Where the mesh in scope has an axis "data" (see `run_mesh`), its devices share the examples of each batch:
    the run is the same up to round-off.

    Args:
      workload: its functions; its own `data` is not read.
      data: the data to train on, shaped as `workload.data`.
      optimizer: schedule → gradient transformation, such as `optax.adam`; built inside the run, so that
        learning rates (and whatever else the function closes over) may be traced. Gradients are clipped by a
        transformation in its chain, such as `optax.clip_by_global_norm`. Its `update` may take the gradient
        of the same batch again, as `grad_fn(params)`, and that of one of its parts, as `grad_fn(params,
        part)`, and the largest attention logits of that batch at its parameters, as `max_logits()`, see
        `Workload`; with workers both are None.
      learning_rates: one a step; or a row of them for each group of parameters, and then `optimizer` takes
        the groups' schedules in that order, such as
        `lambda matrices, others: optim.muon(matrices, fallback_learning_rate=others)`.
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
      workers: K, each with parameters of its own, stacked on a leading axis, which all begin as one. Of each
        batch they take K equal parts, in order, see `sharded`, so that all together use `batch_size` examples
        a step. The transformation is one of stacks, such as `optim.on_workers` makes; what it and a probe get
        of part gradients has the axis of workers behind that of parts. One set of parameters when None.
      hooks: says by the optimizer's state at which parameters a step's gradient is taken and which are
        evaluated, see `Hooks`; `optim` does for all methods there, and they are needed with `workers`. The
        parameters themselves when None.
      probe: called at steps 0, probe_every, 2·probe_every, …; see `Probe`.
      probe_every: steps from one probe to the next.

    Raises:
      ValueError: `learning_rates`, `evaluate_at`, `parts`, `microbatches`, `average_decay`, `workers` or
        `probe_every` is not as described, there are no steps, devices that share a batch do not divide it, or
        two options say what is evaluated; or, in the run, the hooks draw parameters of other shapes.
    """
    num_steps = learning_rates.shape[-1]
    evaluate_at = (num_steps,) if evaluate_at is None else tuple(evaluate_at)
    check_rates(learning_rates)
    check_steps(num_steps, evaluate_at, probe_every)
    check_workers(batch_size, workers, hooks)
    check_pieces(batch_size // (workers or 1), parts, microbatches)
    check_average_decay(average_decay)
    gradients = part_gradients(workload, parts, microbatches)
    run = _Training(
        workload=workload,
        data=data,
        transformation=optax.with_extra_args_support(optimizer(*_schedules(learning_rates))),
        gradients_of=gradients if workers is None else worker_gradients(gradients, workers),
        gradient_function_of=(
            gradient_functions(workload, parts, microbatches) if workers is None else lambda *_: None
        ),
        max_logits_of=max_logits_functions(workload, microbatches) if workers is None else lambda *_: None,
        keys=keys,
        num_steps=num_steps,
        batch_size=batch_size,
        evaluate_at=evaluate_at,
        average_decay=average_decay,
        workers=workers,
        hooks=hooks or Plain,
        probe=probe or (lambda *_: {}),
        probe_at=range(0, num_steps, probe_every) if probe else (),
    )
    return Stages(run.begin, run.advance, run.finish)


@dataclasses.dataclass(frozen=True, eq=False)
class _Training:
    """What is the same at all steps of a run: see `trainer`."""

    workload: Workload
    data: PyTree
    transformation: optax.GradientTransformationExtraArgs
    gradients_of: PartGradients
    gradient_function_of: Callable[..., GradientFunction | None]
    max_logits_of: MaxLogits
    keys: RunKeys
    num_steps: int
    batch_size: int
    evaluate_at: Sequence[int]
    average_decay: ScalarLike | None
    workers: int | None
    hooks: Hooks
    probe: Probe
    probe_at: Sequence[int]

    def begin(self) -> Run:
        params = self.workload.init(self.keys.init)
        if self.workers is not None:
            params = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (self.workers, *leaf.shape)), params)
        average = None if self.average_decay is None else params
        state = self.transformation.init(params)
        if average is not None:
            check_evaluated(self.hooks, state, params)
        run = Run(params, average, state, {}, jnp.zeros(0), {})
        metrics, loss, probed = jax.eval_shape(self._observe_first, run)
        run = run._replace(
            metrics=empty_slots(len(self.evaluate_at), metrics),
            losses=empty_slots(self.num_steps, loss),
            probes=empty_slots(len(self.probe_at), probed),
        )
        # without weak types, which an update may not return: a state has the same types before every step
        return jax.tree.map(lambda leaf: jnp.asarray(leaf, jax.typeof(leaf).dtype), run)

    def advance(self, run: Run, start: int | Int[Array, ""], until: int | Int[Array, ""]) -> Run:
        indices, keys = self._draws()
        return jax.lax.fori_loop(start, until, lambda t, run: self._step(run, t, indices[t], keys[t]), run)

    def finish(self, run: Run) -> Run:
        if self.num_steps not in self.evaluate_at:
            return run
        last = self._evaluate(run)
        return run._replace(metrics=jax.tree.map(lambda slots, m: slots.at[-1].set(m), run.metrics, last))

    def _draws(self) -> tuple[Int[Array, "steps batch"], Key[Array, "steps"]]:
        """The examples and the key of the loss of every step."""
        indices = self.workload.indices(self.keys.data, self.batch_size, self.num_steps)
        return indices, jax.random.split(self.keys.loss, self.num_steps)

    def _step(self, run: Run, t: Int[Array, ""], indices: Int[Array, "batch"], key: PRNGKeyArray) -> Run:
        """Record what is due, then update."""
        drawn, state = self._sample(run, t)
        loss, gradients = self.gradients_of(drawn, self.data, indices, key)
        metrics = record(run.metrics, self.evaluate_at, t, self.num_steps, lambda: self._evaluate(run))
        probes = record(
            run.probes, self.probe_at, t, self.num_steps, lambda: self._probe(run, t, indices, gradients)
        )
        losses = jax.lax.dynamic_update_index_in_dim(run.losses, loss, t, axis=0)
        recorded = run._replace(optimizer_state=state, metrics=metrics, losses=losses, probes=probes)
        return self._update(recorded, t, indices, key, gradients)

    def _sample(self, run: Run, t: Int[Array, ""]) -> tuple[PyTree, PyTree]:
        """The parameters to take the step's gradient at, and the optimizer's state that knows of them."""
        key = jax.random.fold_in(self.keys.sample, t)
        drawn, state = self.hooks.sample(key, run.optimizer_state, run.params)
        check_drawn(drawn, run.params)
        return drawn, state

    def _update(
        self, run: Run, t: Int[Array, ""], indices: Int[Array, "batch"], key: PRNGKeyArray, gradients: PyTree
    ) -> Run:
        updates, state = self.transformation.update(
            mean_of_parts(gradients),
            run.optimizer_state,
            run.params,
            part_gradients=gradients,
            grad_fn=self.gradient_function_of(self.data, indices, key),
            max_logits=self.max_logits_of(run.params, self.data, indices),
        )
        params = optax.apply_updates(run.params, updates)
        average = _averaged(run.average, params, t, self.average_decay)
        return run._replace(params=params, average=average, optimizer_state=state)

    def _evaluate(self, run: Run) -> PyTree:
        trained = run.params if run.average is None else run.average
        evaluate = jax.jit(self.workload.evaluate, inline=True)  # traced once, wherever a run evaluates
        return evaluate(self.hooks.evaluation_params(run.optimizer_state, trained), self.data)

    def _probe(self, run: Run, t: Int[Array, ""], indices: Int[Array, "batch"], gradients: PyTree):
        batch, key = self.workload.batch(self.data, indices), jax.random.fold_in(self.keys.probe, t)
        return self.probe(run.params, run.optimizer_state, batch, gradients, key)

    def _observe_first(self, run: Run) -> tuple[PyTree, Float[Array, ""], PyTree]:
        """The metrics, the loss and the probe's record before the first update."""
        indices, keys = self._draws()
        loss, gradients = self.gradients_of(run.params, self.data, indices[0], keys[0])
        return self._evaluate(run), loss, self._probe(run, jnp.int32(0), indices[0], gradients)


def _schedules(learning_rates: Float[Array, "*groups steps"]) -> list[optax.Schedule]:
    """One for all parameters, or one a group."""
    tables = [learning_rates] if learning_rates.ndim == 1 else list(learning_rates)
    return [lambda count, table=table: table[count] for table in tables]


def _averaged(average: PyTree, params: PyTree, t: Int[Array, ""], decay: ScalarLike | None) -> PyTree:
    """The average after update t + 1: its newest weighs (1 - d) / (1 - d^(t+1)), the first update all."""
    if average is None:
        return None
    return optax.incremental_update(params, average, (1 - decay) / (1 - decay ** (t + 1)))
