"""A function of matrices on a whole parameter tree."""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from geometry.matrices import (
    MatrixView,
    by_equal_batches,
    in_equal_batches,
    leaves_by_path,
    tree_shapes,
    wide,
)
from optim.placement import Batch, Placement, num_devices, shared_mesh
from optim.plan import tell
from optim.routing import Routing
from optim.scales import shape_scales
from optim.sharding import Shards, by_owners, shared_out

Parts = Mapping[str, tuple[Array, ...]]  # path → an array for each block of the leaf, its matrices leading


def on_matrices(
    function: Callable[..., tuple[Array, ...]],
    tree: PyTree,
    *parts: Parts,
    routing: Routing,
    scales: Sequence[str | None],
    shards: Shards | None = None,
) -> tuple[PyTree | Parts, ...]:
    """Apply a function of stacks of wide matrices to all leaves, equal matrices of the tree in one call.

    Args:
      function: a stack (matrices, short, long), and what each of `parts` has of the same matrices → for each
        of `scales` a stack of that shape, then for each of `parts` what takes its place.
      tree: the matrices, each leaf split and turned to be wide.
      parts: what else is known of each block of each leaf.
      routing: how leaves are seen as matrices.
      scales: by which shape scale each of the trees that come back is multiplied; see `shape_scales`.
      shards: the same function of matrices whose long side is sharded, where there is one.

    Returns:
      The trees, in the shapes and dtypes of `tree`, and the new parts.
    """
    views = routing.views(tree)
    leaves, structure = jax.tree.flatten(tree)
    split = [view.split(leaf) for view, leaf in zip(views.values(), leaves, strict=True)]
    stacks = list(chain(*split))
    if not stacks:
        return (*[tree] * len(scales), *parts)

    def by_leaf(arrays):
        remaining = iter(arrays)
        return [tuple(islice(remaining, len(blocks))) for blocks in split]

    def joined(turned, scale):
        pairs = zip(turned, stacks, strict=True)
        upright = by_leaf(array if array.shape == stack.shape else array.mT for array, stack in pairs)
        rows = zip(views.values(), upright, leaves, strict=True)
        return structure.unflatten([_join(view, blocks, leaf, scale) for view, blocks, leaf in rows])

    # in the tree's order, which is not that of the sorted paths
    columns = [list(chain.from_iterable(part[path] for path in views)) for part in parts]
    results = _in_batches(function, shards, stacks, columns)
    trees = map(joined, results, scales)
    return (*trees, *(dict(zip(views, by_leaf(arrays), strict=True)) for arrays in results[len(scales) :]))


def _in_batches(
    function: Callable[..., tuple[Array, ...]],
    shards: Shards | None,
    stacks: Sequence[Array],
    columns: Sequence[Sequence[Array]],
) -> Sequence[Sequence[Array]]:
    """`in_equal_batches` of the matrices turned to be wide, shared out over the devices of their mesh.

    There those that stand and those that lie are batches apart: turned, their shards lie across each other.
    """
    mesh = shared_mesh(stacks)
    if mesh is None:
        return in_equal_batches(function, list(map(wide, stacks)), *columns)

    def upright(stack, *known):
        results = function(wide(stack), *known)
        count = len(results) - len(known)
        turned = (result if result.shape == stack.shape else result.mT for result in results[:count])
        return *turned, *results[count:]

    def filling(batches):
        (stacks,) = batches
        placement = Placement.by_owners(mesh, [Batch.of(upright, stacks)])
        tell(placement)
        return by_owners(upright, mesh, placement.dealt, joined=False)([stacks])

    # a leaf of so many matrices that it keeps all devices equally busy by itself is a batch of its own
    own = [place for place, stack in enumerate(stacks) if len(stack) % num_devices(mesh) == 0]
    joined = [place for place in range(len(stacks)) if place not in own]
    results: list[Any] = [None] * len(stacks)
    for places in (joined, *([place] for place in own)):
        compute = shared_out(upright, mesh, shards) if places is joined else filling
        chosen = [[column[place] for place in places] for column in (stacks, *columns)]
        for place, *parts in zip(places, *by_equal_batches(compute, *chosen), strict=True):
            results[place] = parts
    return list(zip(*results, strict=True))


def _join(view: MatrixView, blocks: Sequence[Array], leaf: Array, scale: str | None) -> Array:
    factors = shape_scales(scale, view, leaf.shape)
    scaled = [factor * block for factor, block in zip(factors, blocks, strict=True)]
    return view.join(scaled, leaf.shape).astype(leaf.dtype)


def tell_matrices(params: PyTree, routing: Routing, scale: str | None) -> None:
    """Tell every leaf's view and the shape scales of its blocks.

    Raises ValueError where a leaf has no view, and TypeError where it is not of real floats.
    """
    for path, leaf in leaves_by_path(params).items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{path}: a matrix must have a real floating dtype, got {leaf.dtype}")
    shapes = tree_shapes(params)
    tell(
        {
            path: {"view": view, "scale": shape_scales(scale, view, shapes[path])}
            for path, view in routing.views(params).items()
        }
    )
