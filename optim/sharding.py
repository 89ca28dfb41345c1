"""Matrix algebra on sharded parameters: whole matrices a device, and Explicit mesh axes."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from geometry.matrices import wide
from optim.flops import matrix_flops
from optim.placement import Batch, Placement, covers, free_axes, num_devices, plan, programs
from optim.plan import tell
from optim.tiles import Content, Tiles

_ANY = PartitionSpec.UNCONSTRAINED


Stacks = tuple[Array, ...]  # the matrices of a batch, and what is known of them


class Shards(NamedTuple):
    """How matrices are computed whose long side is sharded.

    Attributes:
      function: (stack of the shards, mesh axes) → a tuple of such stacks, inside `shard_map`.
      gram_sums: how many Gram matrices it sums up over the axes.
    """

    function: Callable[[Array, tuple[str, ...]], Stacks]
    gram_sums: int


def shared_out(
    function: Callable[..., Stacks], mesh: AbstractMesh, shards: Shards | None
) -> Callable[[Iterable[Stacks]], list[Stacks]]:
    """`function` of every batch of equal matrices, placed as the cheapest plan says.

    Args:
      function: stacks → a tuple of stacks, matrix by matrix: first some of the matrices' shape, then what
        takes the place of what is known of them.
      mesh: as `shared_mesh` finds it.
      shards: how matrices alone, of which nothing more is known, are computed in shards; None where they
        cannot be.
    """

    def placed(batches):
        batches = list(batches)
        costs = [Batch.of(function, stacks) for stacks in batches]
        in_shards = dict(_in_shards(shards, mesh, costs, batches)) if shards else {}
        results: list = [None] * len(batches)
        for places, placement in plan(mesh, costs, in_shards):
            tell(placement)
            if placement.dealt:
                compute = by_owners(function, mesh, placement.dealt, joined=True)
            elif placement is in_shards.get(places[0]):
                compute = _by_shards(shards.function, mesh)
            else:
                compute = _everywhere(function, mesh)
            for place, stacks in zip(places, compute([batches[place] for place in places]), strict=True):
                results[place] = stacks
        return results

    return placed


def by_owners(
    function: Callable[..., Stacks], mesh: AbstractMesh, dealt: Sequence[Content], *, joined: bool
) -> Callable[[Sequence[Stacks]], list[Stacks]]:
    """`function` of batches of matrices, each matrix computed whole by the device that owns it.

    Their tiles' leading axis is sharded over the mesh. Inside `function` nothing is communicated; tiles are
    moved once before it and the results' once after, by every mesh axis. Each device runs the program of what
    it owns, or that of one that owns no less of anything, with blanks.

    Args:
      function: see `shared_out`.
      mesh: as `shared_mesh` finds it.
      dealt: how many matrices of each batch every device owns.
      joined: whether the stacks were put together from leaves, each of which has all of its matrices on all
        devices. A leaf's own stack may be sharded by matrices, and then it stays where it is.
    """
    compiled = programs(dealt)
    choices = [next(i for i, program in enumerate(compiled) if covers(program, own)) for own in dealt]
    axes = free_axes(mesh)[::-1]
    # axis by axis: the partitioner moves one at a time well, and for several replicates the whole stack
    stages = range(0 if joined else 1, len(axes))
    moves = [NamedSharding(mesh, PartitionSpec(axes[:stage] or None, _ANY, _ANY)) for stage in stages]

    def moved(tiles, moves):
        return functools.reduce(jax.lax.with_sharding_constraint, moves, tiles)

    def placed(batches):
        columns = list(zip(*batches, strict=True))
        computed = tuple(compiled[choice] for choice in choices)
        tilings = [
            Tiles(tuple(stack.shape[1:] for stack in column), tuple(dealt), computed) for column in columns
        ]
        count = len(jax.eval_shape(function, *batches[0])) - len(tilings[1:])
        results = tilings[:1] * count + tilings[1:]

        def run(content, *tiles):
            owned = [tiling.owned(own, content) for tiling, own in zip(tilings, tiles, strict=True)]
            outcome = [function(*batch) for batch in zip(*owned, strict=True)]
            rows = zip(results, zip(*outcome, strict=True), strict=True)
            return tuple(tiling.filled(own) for tiling, own in rows)

        def choose(choice, *tiles):
            branches = [functools.partial(run, content) for content in compiled]
            return jax.lax.switch(choice[0], branches, *tiles)

        compute = _compiled(choose, mesh, PartitionSpec(axes))
        laid = [tiling.laid_out(column) for tiling, column in zip(tilings, columns, strict=True)]
        tiles = compute(jnp.asarray(choices), *(moved(own, moves) for own in laid))
        collected = [
            tiling.collected(moved(own, moves[::-1])) for tiling, own in zip(results, tiles, strict=True)
        ]
        return list(zip(*collected, strict=True))

    return placed


def _everywhere(
    function: Callable[..., Stacks], mesh: AbstractMesh
) -> Callable[[Sequence[Stacks]], list[Stacks]]:
    """`function` of every batch, computed by all devices."""
    compute = _compiled(function, mesh, PartitionSpec())
    return lambda batches: [compute(*stacks) for stacks in batches]


def _by_shards(
    function: Callable[[Array, tuple[str, ...]], Stacks], mesh: AbstractMesh
) -> Callable[[Sequence[Stacks]], list[Stacks]]:
    """`function` of every batch of matrices alone, of which each device has a part of the long side."""

    def placed(stack):
        # a mesh axis that the long side is sharded by stays the most significant there
        axes = free_axes(mesh)[:: -1 if stack.shape[1] <= stack.shape[2] else 1]
        spec = PartitionSpec(None, None, axes)
        compute = _compiled(lambda part: function(part, axes), mesh, spec)
        results = compute(jax.lax.with_sharding_constraint(wide(stack), NamedSharding(mesh, spec)))
        return tuple(result if result.shape == stack.shape else result.mT for result in results)

    return lambda batches: [placed(*stacks) for stacks in batches]


def _in_shards(
    shards: Shards, mesh: AbstractMesh, costs: Sequence[Batch], batches: Sequence[Stacks]
) -> Iterator[tuple[int, Placement]]:
    """By the places of those that can be, the batches' placements in shards."""
    for place, (cost, stacks) in enumerate(zip(costs, batches, strict=True)):
        if len(stacks) == 1 and max(cost.shape) % num_devices(mesh) == 0:
            compute = _by_shards(shards.function, mesh)
            flops = matrix_flops(lambda stack, compute=compute: compute([(stack,)]), stacks[0])
            yield place, Placement.in_shards(mesh, cost, flops, shards.gram_sums)


def _compiled(
    function: Callable[..., Stacks], mesh: AbstractMesh, spec: PartitionSpec
) -> Callable[..., Stacks]:
    """`function` of every device's part, jitted: outside any jit, every operation would be compiled alone."""
    return jax.jit(
        jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec, axis_names=set(free_axes(mesh)))
    )


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
