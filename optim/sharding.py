"""Matrix algebra on parameters that are sharded over Explicit mesh axes."""

from collections.abc import Callable

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree


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
