"""A sweep of runs that go through stages: at once, or in segments between which its state can be saved."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import Mesh
from jaxtyping import Array, Int, PyTree

from workloads.mesh import run_mesh
from workloads.program import Program, Segment
from workloads.rows import layout, over_runs, placed, replicated, taken
from workloads.run import Stages


class SweepState(NamedTuple):
    """A sweep between two segments.

    Attributes:
      step: how many steps all its runs have done.
      runs: their states: a tuple with those of the runs that are computed at a time, stacked; where it was
        saved, those of all runs, stacked.
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

    As `sweep` does of `run(row, data)`, it computes the stages `stages(row, data)` of every row of `inputs`.
    One compiled program serves every segment, and all of them at once: where the sweep is cut, and whether
    its state was saved and restored, changes no bit of its results.

    Args:
      stages: a pure function; pass the same object again to reuse its compiled program.
      inputs, data, mesh, vectorize, capacity: see `sweep`.

    Raises:
      ValueError: as `sweep` does.
    """
    mesh = run_mesh() if mesh is None else mesh
    layout(inputs, mesh, vectorize, capacity)  # raises what is wrong
    capacity = len(jax.tree.leaves(inputs)[0]) if capacity is None else capacity
    return LongSweep(Program(stages, mesh, vectorize), inputs, replicated(data, mesh), capacity)


@dataclasses.dataclass(frozen=True, eq=False)
class LongSweep:
    """A sweep at once or in segments, see `long_sweep`.

    At once it holds the states of the runs that are computed at a time, `vectorize` on each device; in
    segments those of all its runs. Where the mesh spans several processes, each makes the same calls.
    """

    program: Program
    inputs: PyTree
    data: PyTree
    capacity: int

    def whole(self, num_steps: int) -> PyTree:
        """The results after that many steps, stacked in the order of the rows."""
        rows = self._placed(self.inputs)
        segment = Segment.between(0, num_steps, begins=True, ends=True)
        return taken(self._after(segment, rows, self._room(rows))[1], rows.kept)

    def begin(self) -> SweepState:
        """The state before the first step; every device holds that of its own rows."""
        rooms = [self._room(rows) for rows in self._groups]
        return SweepState(0, self._each_after(Segment.between(0, 0, begins=True), rooms)[0])

    def advance(self, state: SweepState, until: int) -> SweepState:
        """The state after `until` steps, at most as many as the runs have.

        It takes the memory of the state that it is given, which is gone. Nothing is copied from the host but
        the two counts.

        Raises ValueError where more steps are done already.
        """
        if until < state.step:
            raise ValueError(f"until must be at least {state.step}, the steps done, got {until}")
        return SweepState(until, self._each_after(Segment.between(state.step, until), state.runs)[0])

    def finish(self, state: SweepState) -> PyTree:
        """The results, stacked in the order of the rows, of a state after the last step, which is gone."""
        # a device that waits for what another has not begun yet keeps the threads that this one needs
        runs = jax.block_until_ready(state.runs)
        _, results = self._each_after(Segment.between(state.step, state.step, ends=True), runs)
        results = jax.block_until_ready(results)  # nor do they wait in vain where ending takes long
        gathered = [taken(found, rows.kept) for found, rows in zip(results, self._groups, strict=True)]
        return gathered[0] if len(gathered) == 1 else jax.tree.map(_joined, *gathered)

    def saved(self, state: SweepState) -> SweepState:
        """The state as NumPy arrays, the runs in the order of the rows, keys as their words.

        The same in every process; in its form, and as `sweep` says in its bits, on any number of devices.
        """

        def save(*leaves):
            return np.concatenate([_on_host(leaf) for leaf in leaves])[: self._num_rows]

        return SweepState(np.asarray(state.step, np.int32), jax.tree.map(save, *state.runs))

    def restored(self, saved: SweepState) -> SweepState:
        """The state that was saved, on the devices of this sweep. Raises ValueError for other shapes."""
        found = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), saved)
        if found != self.saved_shapes():
            raise ValueError(f"saved must have the shapes {self.saved_shapes()}, got {found}")

        def restore(start):
            rows = np.minimum(np.arange(start, start + self.program.together), self._num_rows - 1)
            return jax.tree.map(
                lambda shape, words: placed(_from_words(shape, words[rows]), over_runs(self.program.mesh)),
                self._states,
                saved.runs,
            )

        return SweepState(int(saved.step), tuple(map(restore, self._starts)))

    def saved_shapes(self) -> SweepState:
        """The shapes and dtypes of what `saved` returns; nothing is computed."""

        def stacked(leaf):
            words = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
            return jax.ShapeDtypeStruct((self._num_rows, *words.shape[1:]), words.dtype)

        return SweepState(jax.ShapeDtypeStruct((), np.int32), jax.tree.map(stacked, self._states))

    @property
    def _num_rows(self) -> int:
        return len(jax.tree.leaves(self.inputs)[0])

    @property
    def _starts(self) -> range:
        """The first row of each group of runs that are computed at a time."""
        return range(0, self._num_rows, self.program.together)

    @functools.cached_property
    def _groups(self) -> list["_Rows"]:
        return [self._placed(self._group(start)) for start in self._starts]

    @functools.cached_property
    def _states(self) -> PyTree:
        """The shapes of the states of a group."""
        return self.program.states(self._placed(self._group(0)).inputs, self.data)

    def _group(self, start: int) -> PyTree:
        """The inputs of the runs that are computed together with the one of the row `start`, the first."""
        return jax.tree.map(lambda leaf: leaf[start : start + self.program.together], self.inputs)

    def _placed(self, inputs: PyTree) -> "_Rows":
        mesh = self.program.mesh
        place = layout(inputs, mesh, self.program.vectorize, self.capacity)
        used, padding, kept = replicated((np.int32(place.used), place.padding, place.kept), mesh)
        if all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(inputs)):
            rows = jax.tree.map(lambda leaf: leaf[place.padding], inputs)  # jit would compile each length
        else:
            rows = taken(replicated(inputs, mesh), padding)
        return _Rows(used, placed(rows, over_runs(mesh)), kept)

    def _room(self, rows: "_Rows") -> PyTree:
        return self.program.room(rows.inputs, self.data)

    def _after(self, segment: Segment, rows: "_Rows", runs: PyTree) -> tuple[PyTree, PyTree]:
        """The states and the results of rows after a segment."""
        segment = replicated(segment, self.program.mesh)
        return self.program(rows.used, rows.inputs, runs, segment, self.data)

    def _each_after(self, segment: Segment, runs: Sequence[PyTree]) -> tuple[tuple, tuple]:
        pairs = zip(self._groups, runs, strict=True)
        return tuple(zip(*(self._after(segment, *pair) for pair in pairs), strict=True))


class _Rows(NamedTuple):
    """Rows on the devices: how many groups each computes, the padded inputs, the places of the results."""

    used: Int[Array, ""]
    inputs: PyTree
    kept: Int[Array, "rows"]


@jax.jit
def _joined(*parts: Array) -> Array:
    return jnp.concatenate(parts)


def _on_host(leaf: Array) -> np.ndarray:
    words = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    return np.asarray(words if words.is_fully_addressable else process_allgather(words, tiled=True))


def _from_words(shape: jax.ShapeDtypeStruct, words: np.ndarray) -> Array | np.ndarray:
    if not _is_key(shape):
        return words
    return jax.random.wrap_key_data(words, impl=jax.random.key_impl(jnp.zeros((), shape.dtype)))


def _is_key(leaf: Array | jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
