"""A sweep in segments: its state can be saved between two of them, and restored on other devices."""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int, PyTree

from workloads.mesh import RUNS, run_mesh
from workloads.rows import (
    Layout,
    computed,
    layout,
    on_each_device,
    over_runs,
    placed,
    readable,
    replaced,
    replicated,
    taken,
)
from workloads.run import Stages

HERE, ALL = PartitionSpec(RUNS), PartitionSpec()  # a device's own rows, and what all of them share


class SweepState(NamedTuple):
    """A sweep between two segments.

    Attributes:
      step: how many steps all its runs have done.
      runs: their states, stacked.
    """

    step: int | Int[np.ndarray, ""]
    runs: PyTree


def long_sweep(
    stages: Callable[[PyTree, PyTree], Stages],
    inputs: PyTree,
    data: PyTree,
    *,
    mesh: Mesh | None = None,
    vectorize: int = 1,
    capacity: int | None = None,
) -> "LongSweep":
    """The sweep of runs that go from stage to stage, side by side.

    As `sweep` does of `run(row, data)`, it computes the stages `stages(row, data)` of every row of `inputs`;
    the results do not depend on where the sweep is cut, nor on whether its state was saved and restored.

    Args:
      stages: a pure function; pass the same object again to reuse its compiled programs.
      inputs, data, mesh, vectorize, capacity: see `sweep`.

    Raises:
      ValueError: as `sweep` does.
    """
    mesh = run_mesh() if mesh is None else mesh
    place = layout(inputs, mesh, vectorize, capacity)
    used, padding = replicated((np.int32(place.used), place.padding), mesh)
    rows = placed(taken(replicated(inputs, mesh), padding), over_runs(mesh))
    return LongSweep(stages, mesh, vectorize, place, used, rows, replicated(data, mesh))


@dataclasses.dataclass(frozen=True, eq=False)
class LongSweep:
    """A sweep in segments, see `long_sweep`.

    Where the mesh spans several processes, each makes the same calls.

    Attributes:
      stages: of a row and the data.
      mesh: whose devices share the rows.
      vectorize: runs that a device computes side by side.
      layout: the places of the rows.
      used: how many groups of rows each device computes.
      rows: the padded inputs, a share on each device.
      data: on every device.
    """

    stages: Callable[[PyTree, PyTree], Stages]
    mesh: Mesh
    vectorize: int
    layout: Layout
    used: Int[Array, ""]
    rows: PyTree
    data: PyTree

    def begin(self) -> SweepState:
        """The state before the first step; every device holds that of its own rows."""
        return SweepState(0, _begun(*self._program, self.used, self.rows, self.data))

    def advance(self, state: SweepState, until: int) -> SweepState:
        """The state after `until` steps, at most as many as the runs have.

        It takes the memory of the state that it is given, which is gone. Nothing is copied from the host but
        the two counts.

        Raises ValueError where more steps are done already.
        """
        if until < state.step:
            raise ValueError(f"until must be at least {state.step}, the steps done, got {until}")
        start, end = replicated((np.int32(state.step), np.int32(until)), self.mesh)
        runs = _advanced(*self._program, self.used, self.rows, state.runs, start, end, self.data)
        return SweepState(until, runs)

    def finish(self, state: SweepState) -> PyTree:
        """The results, stacked in the order of the rows, of a state after the last step."""
        results = _finished(*self._program, self.used, self.rows, state.runs, self.data)
        return taken(results, replicated(self.layout.kept, self.mesh))

    def saved(self, state: SweepState) -> SweepState:
        """The state as NumPy arrays, the runs in the order of the rows, keys as their words.

        The same in every process; in its form, and as `sweep` says in its bits, on any number of devices.
        """
        return SweepState(
            np.asarray(state.step, np.int32),
            jax.tree.map(lambda leaf: _on_host(leaf)[self.layout.kept], state.runs),
        )

    def restored(self, saved: SweepState) -> SweepState:
        """The state that was saved, on the devices of this sweep. Raises ValueError for other shapes."""
        found = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
        if found != self.saved_shapes():
            raise ValueError(f"saved must have the shapes {self.saved_shapes()}, got {found}")

        def restore(shape, words):
            values = words[self.layout.padding]
            if _is_key(shape):
                values = jax.random.wrap_key_data(
                    values, impl=jax.random.key_impl(jnp.zeros((), shape.dtype))
                )
            return placed(values, over_runs(self.mesh))

        return SweepState(int(saved.step), jax.tree.map(restore, self._shapes(), saved.runs))

    def saved_shapes(self) -> SweepState:
        """The shapes and dtypes of what `saved` returns; nothing is computed."""
        num_rows = len(self.layout.kept)

        def stacked(leaf):
            words = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
            return jax.ShapeDtypeStruct((num_rows, *words.shape[1:]), words.dtype)

        return SweepState(jax.ShapeDtypeStruct((), np.int32), jax.tree.map(stacked, self._shapes()))

    @property
    def _program(self) -> tuple[Callable[[PyTree, PyTree], Stages], Mesh, int]:
        return self.stages, self.mesh, self.vectorize

    def _shapes(self) -> PyTree:
        """The shapes of the states at all places; nothing is traced that was before."""
        return _begun.eval_shape(*self._program, self.used, self.rows, self.data)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _begun(stages, mesh: Mesh, vectorize: int, used: Int[Array, ""], rows: PyTree, data: PyTree) -> PyTree:
    def on_one_device(used, rows, data):
        return computed(lambda row: stages(row, data).begin(), vectorize, used, rows)

    return _shared_out(on_each_device(on_one_device, mesh, (ALL, HERE, ALL))(used, rows, data), mesh)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=5)
def _advanced(
    stages,
    mesh: Mesh,
    vectorize: int,
    used: Int[Array, ""],
    rows: PyTree,
    runs: PyTree,
    start: Int[Array, ""],
    until: Int[Array, ""],
    data: PyTree,
) -> PyTree:
    def on_one_device(used, rows, runs, start, until, data):
        def advance(row, run):
            return stages(row, data).advance(run, start, until)

        return replaced(advance, vectorize, used, rows, runs)

    mapped = on_each_device(on_one_device, mesh, (ALL, HERE, HERE, ALL, ALL, ALL))
    return _shared_out(mapped(used, rows, runs, start, until, data), mesh)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _finished(
    stages, mesh: Mesh, vectorize: int, used: Int[Array, ""], rows: PyTree, runs: PyTree, data: PyTree
) -> PyTree:
    def on_one_device(used, rows, runs, data):
        def finish(row_and_run):
            row, run = row_and_run
            return stages(row, data).finish(run)

        return computed(finish, vectorize, used, (rows, runs))

    return readable(on_each_device(on_one_device, mesh, (ALL, HERE, HERE, ALL))(used, rows, runs, data), mesh)


def _shared_out(runs: PyTree, mesh: Mesh) -> PyTree:
    """One sharding for the states of all segments: left to itself, the compiler may choose another."""
    return jax.lax.with_sharding_constraint(runs, over_runs(mesh))


def _on_host(leaf: Array) -> np.ndarray:
    words = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    return np.asarray(words if words.is_fully_addressable else process_allgather(words, tiled=True))


def _is_key(leaf: Array | jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
