"""The rows of a sweep on the devices of its mesh: where each goes, and how a device computes its own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree

from workloads.mesh import RUNS


class Layout(NamedTuple):
    """Where the rows of a sweep go: the padded row at every place, the groups that each device computes, and
    the place of every row's result."""

    padding: Int[np.ndarray, "places"]
    used: int
    kept: Int[np.ndarray, "rows"]


def layout(inputs: PyTree, mesh: Mesh, vectorize: int, capacity: int | None) -> Layout:
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
    room = max(room, 2)  # of a single group the compiler would make another program, without a loop
    share = used * vectorize  # rows a shard computes
    place = np.arange(shards * room * vectorize).reshape(shards, -1)
    row = np.minimum(np.arange(shards)[:, None] * share + np.arange(place.shape[1]), num_runs - 1)
    return Layout(row.ravel(), used, place[:, :share].ravel()[:num_runs])


def over_runs(mesh: Mesh) -> NamedSharding:
    """An equal share of the rows on each device."""
    return NamedSharding(mesh, PartitionSpec(RUNS))


def everywhere(mesh: Mesh) -> NamedSharding:
    """All of an array on each device."""
    return NamedSharding(mesh, PartitionSpec())


def replicated(data: PyTree, mesh: Mesh) -> PyTree:
    """Put what all runs share on every device of the mesh; nothing is copied that is there.

    A caller of many sweeps does so once, and each of them then finds its data in place.
    """
    return placed(data, everywhere(mesh))


def placed(tree: PyTree, sharding: NamedSharding) -> PyTree:
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
def taken(tree: PyTree, rows: Int[Array, "taken"]) -> PyTree:
    """The rows of every leaf; compiled, since out of `jit` an index is sent to the device again and again."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def on_each_device(
    function: Callable[..., PyTree], mesh: Mesh, in_specs: Sequence[PartitionSpec]
) -> Callable[..., PyTree]:
    """`function` of each device's share of the arguments; what it returns are its rows."""
    return jax.shard_map(
        function,
        mesh=mesh,
        in_specs=tuple(in_specs),
        out_specs=PartitionSpec(RUNS),
        # an axis that shares batches is left to the compiler, which splits what `train` marks
        axis_names={name for name, size in mesh.shape.items() if name == RUNS or size == 1},
        check_vma=False,  # a run's scans start from constants, which do not vary over the mesh
    )


def side_by_side(run: Callable[..., PyTree], vectorize: int) -> Callable[..., PyTree]:
    """`run` of every row of a group of `vectorize`."""
    if vectorize > 1:
        return jax.vmap(run)

    def alone(*group):  # vmap of one row would compile to a slower program
        return jax.tree.map(lambda leaf: leaf[None], run(*jax.tree.map(lambda leaf: leaf[0], group)))

    return alone


def in_turn(
    compute: Callable[[PyTree, PyTree], tuple[PyTree, PyTree]],
    vectorize: int,
    used: Int[Array, ""],
    rows: PyTree,
    state: PyTree,
) -> tuple[PyTree, PyTree]:
    """compute(group, state) → (state, results) of a device's first `used` groups of `vectorize` rows.

    Returns the state that the last group left, and the results of all, zeros for the other groups.
    """
    groups = jax.tree.map(lambda leaf: leaf.reshape(-1, vectorize, *leaf.shape[1:]), rows)
    first = jax.tree.map(lambda leaf: leaf[0], groups)
    count = len(jax.tree.leaves(groups)[0])
    compute = jax.jit(compute, inline=True)  # traced once, not for its shapes and then for its values
    _, shapes = jax.eval_shape(compute, first, state)
    results = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), shapes)

    def compute_next(index, carry):
        state, results = carry
        state, found = compute(jax.tree.map(lambda leaf: leaf[index], groups), state)
        return state, jax.tree.map(lambda all_, new: all_.at[index].set(new), results, found)

    state, results = jax.lax.fori_loop(0, used, compute_next, (state, results))
    return state, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)


def readable(outputs: PyTree, mesh: Mesh) -> PyTree:
    """What every process can read all of: a process cannot read the devices of another one."""
    if everywhere(mesh).is_fully_addressable:
        return outputs
    return jax.lax.with_sharding_constraint(outputs, everywhere(mesh))
