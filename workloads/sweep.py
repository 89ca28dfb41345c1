"""Many runs at once: one compiled program mapped over a mesh of devices."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from workloads.mesh import RUNS, run_mesh


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
    the last bits, and not on the number of devices or of rows. A second call with the same function, mesh
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
    layout = _layout(inputs, mesh, vectorize, capacity)
    used, padding, kept = replicated((np.int32(layout.used), layout.padding, layout.kept), mesh)
    padded = _taken(replicated(inputs, mesh), padding)
    placed = _placed(padded, NamedSharding(mesh, PartitionSpec(RUNS)))
    return _taken(_mapped(run, mesh, vectorize, used, placed, replicated(data, mesh)), kept)


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
    layout = _layout(inputs, mesh, vectorize, capacity)
    everywhere = NamedSharding(mesh, PartitionSpec())
    rows = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (len(layout.padding), *leaf.shape[1:]),
            leaf.dtype,
            sharding=NamedSharding(mesh, PartitionSpec(RUNS)),
        ),
        inputs,
    )
    used, shared = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=everywhere),
        (np.int32(layout.used), data),
    )
    return _mapped.lower(run, mesh, vectorize, used, rows, shared)


def replicated(data: PyTree, mesh: Mesh) -> PyTree:
    """Put what all runs share on every device of the mesh; nothing is copied that is there.

    A caller of many sweeps does so once, and each of them then finds its data in place.
    """
    return _placed(data, NamedSharding(mesh, PartitionSpec()))


class _Layout(NamedTuple):
    """Where the rows of a sweep go: the padded row at every place, the groups that each device computes, and
    the place of every row's result."""

    padding: Int[np.ndarray, "places"]
    used: int
    kept: Int[np.ndarray, "rows"]


def _layout(inputs: PyTree, mesh: Mesh, vectorize: int, capacity: int | None) -> _Layout:
    """Consecutive rows to each device, repeated ones to fill it. Raises ValueError as `sweep` does."""
    if vectorize < 1:
        raise ValueError(f"vectorize must be at least 1, got {vectorize}")
    lengths = {leaf.shape[0] if np.ndim(leaf) else 0 for leaf in jax.tree.leaves(inputs)}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"inputs need one positive number of rows for all leaves, got {sorted(lengths)}")
    (num_runs,) = lengths
    capacity = num_runs if capacity is None else capacity
    if num_runs > capacity:
        raise ValueError(f"capacity must be at least the {num_runs} rows of inputs, got {capacity}")
    shards = mesh.shape[RUNS]
    room, used = (-(-rows // (shards * vectorize)) for rows in (capacity, num_runs))  # groups a shard
    share = used * vectorize  # rows a shard computes
    place = np.arange(shards * room * vectorize).reshape(shards, -1)
    row = np.minimum(np.arange(shards)[:, None] * share + np.arange(place.shape[1]), num_runs - 1)
    return _Layout(row.ravel(), used, place[:, :share].ravel()[:num_runs])


def _placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
    """Put arrays on the mesh; where it spans several processes, each of them holds the same values."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            words = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        values = np.asarray(leaf)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])

    return jax.tree.map(place, tree)


@jax.jit
def _taken(tree: PyTree, rows: Int[Array, "taken"]) -> PyTree:
    """The rows of every leaf; compiled, since out of `jit` an index is sent to the device again and again."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _mapped(run, mesh: Mesh, vectorize: int, used: Int[Array, ""], inputs: PyTree, data: PyTree) -> PyTree:
    """Each device's rows, of which it computes the first `used` groups; the rest of its outputs is zero."""

    def on_one_device(used, rows, shared):
        def compute(group):
            if vectorize > 1:
                return jax.vmap(lambda row: run(row, shared))(group)
            # vmap of one row would compile to a slower program
            return jax.tree.map(
                lambda leaf: leaf[None], run(jax.tree.map(lambda leaf: leaf[0], group), shared)
            )

        def compute_next(index, outputs):
            group = jax.tree.map(lambda leaf: leaf[index], groups)
            return jax.tree.map(lambda out, new: out.at[index].set(new), outputs, compute(group))

        groups = jax.tree.map(lambda leaf: leaf.reshape(-1, vectorize, *leaf.shape[1:]), rows)
        results = jax.eval_shape(jax.vmap(compute), groups)
        outputs = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), results)
        outputs = jax.lax.fori_loop(0, used, compute_next, outputs)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), outputs)

    mapped = jax.shard_map(
        on_one_device,
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(RUNS), PartitionSpec()),
        out_specs=PartitionSpec(RUNS),
        # an axis that shares batches is left to the compiler, which splits what `train` marks
        axis_names={name for name, size in mesh.shape.items() if name == RUNS or size == 1},
        check_vma=False,  # a run's scans start from constants, which do not vary over the mesh
    )
    outputs = mapped(used, inputs, data)
    everywhere = NamedSharding(mesh, PartitionSpec())
    if everywhere.is_fully_addressable:
        return outputs
    return jax.lax.with_sharding_constraint(outputs, everywhere)  # a process cannot read another one's rows
