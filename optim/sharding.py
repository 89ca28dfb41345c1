"""Matrix algebra on sharded parameters: whole matrices a device, and Explicit mesh axes."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from optim.placement import Placement, free_axes, num_owners, owner_axes
from optim.plan import tell

_ANY = PartitionSpec.UNCONSTRAINED


def by_owners(
    function: Callable[..., tuple[Array, ...]], mesh: AbstractMesh, *, joined: bool
) -> Callable[..., tuple[Array, ...]]:
    """`function` of stacks of matrices, each matrix computed whole by the device that owns it.

    The stacks' leading axis is sharded over the mesh, filled up with zeros where that does not divide it.
    Inside `function` nothing is communicated; each stack is moved once before it and each result once after,
    by every mesh axis. A single matrix is computed by all devices, of which none has to send it back.

    Args:
      function: stacks → a tuple of stacks, matrix by matrix.
      mesh: as `shared_mesh` finds it.
      joined: whether the stacks were put together from leaves, each of which has all of its matrices on all
        devices. A leaf's own stack may be sharded by matrices, and then it stays where it is.
    """

    def placed(*stacks):
        count = len(stacks[0])
        axes = owner_axes(mesh, count)
        owned = PartitionSpec(axes or None)
        compute = jax.shard_map(
            function, mesh=mesh, in_specs=owned, out_specs=owned, axis_names=set(free_axes(mesh))
        )
        compute = jax.jit(compute)  # outside any jit, every operation would be compiled on its own
        # axis by axis: the partitioner moves one at a time well, and for several replicates the whole stack
        stages = range(0 if joined else 1, len(axes))
        moves = [NamedSharding(mesh, PartitionSpec(axes[:stage] or None, _ANY, _ANY)) for stage in stages]

        def moved(stack, moves):
            return functools.reduce(jax.lax.with_sharding_constraint, moves, stack)

        missing = -count % num_owners(mesh, count)
        filled = [jnp.pad(stack, ((0, missing), (0, 0), (0, 0))) for stack in stacks]
        results = compute(*(moved(stack, moves) for stack in filled))
        tell(Placement.of(mesh, stacks, results))
        return tuple(moved(result, moves[::-1])[:count] for result in results)

    return placed


def call_in_auto_mode(function: Callable[..., PyTree], *arguments: PyTree, like: PyTree) -> PyTree:
    """`function(*arguments)`, with the compiler left to choose the shardings inside.

    On Explicit axes a product over a sharded dimension, or a reshape of one, is an error, since its
    sharding is ambiguous. Here these axes count as Auto inside; the results are sharded as the arrays in
    `like`, a tree shaped as the results. Without Explicit axes this is a plain call.
    """
    mesh = _explicit_mesh(arguments)
    if mesh is None:
        return function(*arguments)
    axes = tuple(
        name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit
    )
    shardings = jax.tree.map(lambda array: NamedSharding(mesh, _spec(array)), like)
    return jax.sharding.auto_axes(function, axes=axes, out_sharding=shardings)(*arguments)


def _explicit_mesh(tree: PyTree) -> AbstractMesh | None:
    for leaf in jax.tree.leaves(tree):
        mesh = jax.typeof(leaf).sharding.mesh
        if AxisType.Explicit in mesh.axis_types:
            return mesh
    return None


def _spec(array: Array) -> PartitionSpec:
    sharding = jax.typeof(array).sharding
    return PartitionSpec() if sharding.mesh.empty else sharding.spec
