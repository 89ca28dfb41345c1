"""The one compiled program of a sweep: it begins runs, advances them and finishes them, as it is told."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Int, PyTree

from workloads.mesh import RUNS
from workloads.rows import everywhere, in_turn, layout, on_each_device, over_runs, readable, side_by_side
from workloads.run import Stages

HERE, ALL = PartitionSpec(RUNS), PartitionSpec()  # a device's own rows, and what all of them share


class Segment(NamedTuple):
    """What to do of the runs: the steps from `start` on until `until`, whether they begin before, and whether
    they are finished after. None of it is part of the program, so that one program serves all segments."""

    begins: Bool[Array, ""]
    start: Int[Array, ""]
    until: Int[Array, ""]
    ends: Bool[Array, ""]

    @classmethod
    def between(cls, start: int, until: int, *, begins: bool = False, ends: bool = False) -> "Segment":
        return cls(np.bool_(begins), np.int32(start), np.int32(until), np.bool_(ends))


class Program(NamedTuple):
    """The stages of rows on a mesh, `vectorize` of them side by side on each device.

    Two of the same are compiled once.
    """

    stages: Callable[[PyTree, PyTree], Stages]
    mesh: Mesh
    vectorize: int

    @property
    def together(self) -> int:
        """How many runs are computed at a time."""
        return self.mesh.shape[RUNS] * self.vectorize

    def states(self, inputs: PyTree, data: PyTree) -> PyTree:
        """The shapes of the states of the runs that are computed at a time; nothing is traced again."""
        return _room.eval_shape(self, inputs, data)

    def room(self, inputs: PyTree, data: PyTree) -> PyTree:
        """Room for these states."""
        shapes = self.states(inputs, data)
        return _room(self, inputs, data) if jax.tree.leaves(shapes) else shapes

    def __call__(
        self, used: Int[Array, ""], inputs: PyTree, runs: PyTree, segment: Segment, data: PyTree
    ) -> tuple[PyTree, PyTree]:
        """The states and the results of the rows in the first `used` groups of each device, after a segment.

        `runs` has the states of one group, and its memory is taken for those of the last: only what begins
        and ends in the segment can be several. What does not end has the result zero.
        """
        return _computed(self, used, inputs, runs, segment, data)

    def lower(self, inputs: PyTree, data: PyTree, capacity: int | None) -> jax.stages.Lowered:
        """The program of a sweep, to be compiled and looked into; of arrays, shapes will do."""
        by_run, shared = over_runs(self.mesh), everywhere(self.mesh)
        places = len(layout(inputs, self.mesh, self.vectorize, capacity).padding)

        def placed(leaf, shape, sharding):
            return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)

        rows = jax.tree.map(lambda leaf: placed(leaf, (places, *leaf.shape[1:]), by_run), inputs)
        runs = jax.tree.map(lambda leaf: placed(leaf, leaf.shape, by_run), self.states(rows, data))
        used, segment, data = jax.tree.map(
            lambda leaf: placed(leaf, leaf.shape, shared), (np.int32(0), Segment.between(0, 0), data)
        )
        return _computed.lower(self, used, rows, runs, segment, data)


@functools.partial(jax.jit, static_argnums=0)
def _room(program: Program, inputs: PyTree, data: PyTree) -> PyTree:
    row = jax.tree.map(lambda leaf: leaf[0], inputs)
    run = jax.eval_shape(lambda: program.stages(row, data).begin())
    zeros = jax.tree.map(lambda leaf: jnp.zeros((program.together, *leaf.shape), leaf.dtype), run)
    return jax.lax.with_sharding_constraint(zeros, over_runs(program.mesh))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=3)
def _computed(
    program: Program, used: Int[Array, ""], inputs: PyTree, runs: PyTree, segment: Segment, data: PyTree
) -> tuple[PyTree, PyTree]:
    def on_one_device(used, rows, runs, segment, data):
        def compute(group, runs):
            return _group(program, group, runs, segment, data)

        return in_turn(compute, program.vectorize, used, rows, runs)

    mapped = on_each_device(on_one_device, program.mesh, (ALL, HERE, HERE, ALL, ALL))
    runs, results = mapped(used, inputs, runs, segment, data)
    # one sharding for the states of all segments: left to itself, the compiler may choose another
    runs = jax.lax.with_sharding_constraint(runs, over_runs(program.mesh))
    return runs, readable(results, program.mesh)


def _group(
    program: Program, rows: PyTree, runs: PyTree, segment: Segment, data: PyTree
) -> tuple[PyTree, PyTree]:
    """The states and the results of a group of rows after the segment."""
    mapped = functools.partial(side_by_side, vectorize=program.vectorize)

    def begin():
        return mapped(lambda row: program.stages(row, data).begin())(rows)

    @functools.partial(jax.jit, inline=True)  # traced once, not for its shapes and then for its values
    def finish(runs):
        return mapped(lambda row, run: program.stages(row, data).finish(run))(rows, runs)

    if not jax.tree.leaves(runs):
        return runs, finish(runs)  # without a state there is one segment, and no question
    runs = jax.lax.cond(segment.begins, begin, lambda: runs)
    runs = mapped(lambda row, run: program.stages(row, data).advance(run, segment.start, segment.until))(
        rows, runs
    )
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(finish, runs))
    return runs, jax.lax.cond(segment.ends, finish, lambda _: zeros, runs)
