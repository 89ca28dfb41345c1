"""Many runs at once: one compiled program mapped over a mesh of devices."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int, PyTree

from workloads.mesh import RUNS, run_mesh
from workloads.rows import (
    computed,
    everywhere,
    layout,
    on_each_device,
    over_runs,
    placed,
    readable,
    replicated,
    taken,
)


def sweep(
    run: Callable[[PyTree, PyTree], PyTree],
    inputs: PyTree,
    data: PyTree,
    *,
    mesh: Mesh | None = None,
    vectorize: int = 1,
    capacity: int | None = None,
) -> PyTree:
    """Call `run(row, data)` for every row of `inputs` and stack the results.

    The rows are split over the devices of the mesh (`shard_map`); a device takes its rows one group of
    `vectorize` after the other (`lax.map`), a group in one `vmap`. The result depends on `vectorize`, in
    the last bits, and not on the number of rows or of several devices; between one device, for which XLA
    compiles otherwise, and several, some programs differ there. A second call with the same function, mesh
    and shapes compiles nothing, nor does one with another number of rows within the same capacity. Where the
    mesh spans several processes (`jax.distributed`), each makes the same call and gets all results.

    Args:
      run: a pure function; pass the same object again to reuse its compiled program.
      inputs: what differs from run to run, any pytree (learning rates, decays, momenta, keys) whose leaves
        have the runs as leading axis.
      data: what all runs share, any pytree; copied to every device once, not at all when it is there.
      mesh: a mesh with the axis "runs", over which the rows are split; all devices when None. Where it has an
        axis "data" too, its devices compute a row together, as `train` does (see `run_mesh`).
      vectorize: how many runs a device computes side by side. 1 is fastest on a CPU for whatever is bound
        by matrix products; accelerators and tiny models want more.
      capacity: the number of rows that the compiled program has room for, that of `inputs` when None; room
        that is not used costs memory and no time.

    Raises:
      ValueError: `inputs` has no rows, leaves of different lengths or more rows than `capacity`, or
        `vectorize` is below 1.
    """
    mesh = run_mesh() if mesh is None else mesh
    place = layout(inputs, mesh, vectorize, capacity)
    used, padding, kept = replicated((np.int32(place.used), place.padding, place.kept), mesh)
    rows = placed(taken(replicated(inputs, mesh), padding), over_runs(mesh))
    return taken(_mapped(run, mesh, vectorize, used, rows, replicated(data, mesh)), kept)


def lower_sweep(
    run: Callable[[PyTree, PyTree], PyTree],
    inputs: PyTree,
    data: PyTree,
    *,
    mesh: Mesh | None = None,
    vectorize: int = 1,
    capacity: int | None = None,
) -> jax.stages.Lowered:
    """The program of the same call of `sweep`, to be compiled and looked into; of arrays, shapes will do.

    Raises ValueError as `sweep` does.
    """
    mesh = run_mesh() if mesh is None else mesh
    place = layout(inputs, mesh, vectorize, capacity)
    rows = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (len(place.padding), *leaf.shape[1:]), leaf.dtype, sharding=over_runs(mesh)
        ),
        inputs,
    )
    used, shared = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere(mesh)),
        (np.int32(place.used), data),
    )
    return _mapped.lower(run, mesh, vectorize, used, rows, shared)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mapped(run, mesh: Mesh, vectorize: int, used: Int[Array, ""], inputs: PyTree, data: PyTree) -> PyTree:
    def on_one_device(used, rows, shared):
        return computed(lambda row: run(row, shared), vectorize, used, rows)

    specs = PartitionSpec(), PartitionSpec(RUNS), PartitionSpec()
    return readable(on_each_device(on_one_device, mesh, specs)(used, inputs, data), mesh)
