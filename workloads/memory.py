"""The memory that a sweep takes, known before it runs."""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from jaxtyping import PyTree

from workloads.mesh import RUNS, run_mesh
from workloads.program import Program
from workloads.run import Stages


class SweepMemory(NamedTuple):
    """Bytes on each device: of what all runs share, of the rows, of the states of the runs that are computed
    at a time, of the results, and of the work itself."""

    data: int
    rows: int
    states: int
    results: int
    work: int

    @property
    def total(self) -> int:
        return sum(self)


def sweep_memory(
    stages: Callable[[PyTree, PyTree], Stages],
    inputs: PyTree,
    data: PyTree,
    *,
    mesh: Mesh | None = None,
    vectorize: int = 1,
    capacity: int | None = None,
) -> SweepMemory:
    """What a `long_sweep` of so many rows takes at its peak on each device, as its compiler plans it; that of
    `sweep(run, …)` with the stages `AtOnce(run)`.

    Nothing is computed, and of arrays, shapes will do. What is not in the plan is the program itself and
    the room in which a library of matrix products rearranges its operands.

    Raises ValueError as `sweep` does.
    """
    program = Program(stages, run_mesh() if mesh is None else mesh, vectorize)
    plans = _plans(program.lower(inputs, data, capacity))
    shared = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(data))
    states = plans[0].alias_size_in_bytes  # given, and taken for those that are returned
    return SweepMemory(
        data=shared,
        rows=plans[0].argument_size_in_bytes - shared - states,
        states=states,
        results=plans[0].output_size_in_bytes - states,
        work=max(plan.temp_size_in_bytes for plan in plans),
    )


def _plans(lowered: jax.stages.Lowered) -> list[Any]:
    """What the compiler says of the memory of a program as it is run, and without fused products.

    On a CPU, products are fused with what surrounds them and handed to a library, and what lies between them
    is then in no plan; without the fusions the plan is of another order of work. On a device by itself both
    were too small rather than too large where they were measured, so the larger counts.
    """
    plans = [lowered.compile().memory_analysis()]
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # a compiler without the option has no such fusions
        unfused = lowered.compile(compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})
        plans.append(unfused.memory_analysis())
    return plans


def fitting_vectorize(
    stages: Callable[[PyTree, PyTree], Stages],
    inputs: PyTree,
    data: PyTree,
    memory: int,
    *,
    mesh: Mesh | None = None,
) -> int:
    """A power of two of runs side by side on a device for which its memory, in bytes, has room.

    The largest, where the work grows in proportion to the runs as it does from one run to two, and no larger
    than the rows of `inputs` fill all devices.

    Raises ValueError where not even one run fits.
    """
    mesh = run_mesh() if mesh is None else mesh

    def needed(vectorize: int) -> int:
        return sweep_memory(stages, inputs, data, mesh=mesh, vectorize=vectorize).total

    single = needed(1)
    if single > memory:
        raise ValueError(f"memory must be at least {single:,} bytes a device for one run, got {memory:,}")
    widest = len(jax.tree.leaves(inputs)[0]) // mesh.shape[RUNS]
    if widest < 2:
        return 1
    further = max(1, needed(2) - single)
    vectorize = 2 ** (min(widest, 1 + (memory - single) // further).bit_length() - 1)
    while vectorize > 1 and needed(vectorize) > memory:
        vectorize //= 2
    return vectorize
