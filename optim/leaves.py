"""A parameter tree as one list of matrix stacks, and back."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from geometry.matrices import leaves_by_path, tree_shapes
from optim.plan import tell
from optim.routing import Routing
from optim.scales import shape_scales


def stacks_of(tree: PyTree, routing: Routing) -> list[Array]:
    """The matrix stacks of all leaves, block after block."""
    views = routing.views(tree).values()
    return [
        stack for view, leaf in zip(views, jax.tree.leaves(tree), strict=True) for stack in view.split(leaf)
    ]


def tree_of(stacks: Sequence[Array], like: PyTree, routing: Routing, scale: str | None = None) -> PyTree:
    """The tree that `stacks_of` took apart, each block times its shape scale, in the dtypes of `like`."""
    remaining = iter(stacks)
    views = routing.views(like).values()

    def leaf_of(view, leaf):
        factors = shape_scales(scale, view, leaf.shape)
        blocks = [factor * next(remaining) for factor in factors]
        return view.join(blocks, leaf.shape).astype(leaf.dtype)

    leaves, structure = jax.tree.flatten(like)
    return structure.unflatten([leaf_of(view, leaf) for view, leaf in zip(views, leaves, strict=True)])


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
