"""How a batch of equal matrices is shared out over the devices of a mesh, and what that costs a step."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType
from jaxtyping import Array, PyTree


class Placement(NamedTuple):
    """A batch of equal matrices on a mesh.

    Attributes:
      shape: rows and columns of each, as its leaf has them.
      matrices: how many they are.
      owned: how many of them a device computes, whose FLOPs are that share of those of one device alone.
      collectives: that move the batch in a step, of leaves sharded over every axis of the mesh.
      received: bytes that they bring to each device, its own part counted.
    """

    shape: tuple[int, int]
    matrices: int
    owned: int
    collectives: int
    received: int

    @classmethod
    def of(cls, mesh: AbstractMesh, stacks: Sequence[Array], results: Sequence[Array]) -> "Placement":
        """Of stacks that `by_owners` takes, and of the results that it returns."""
        matrices, *shape = stacks[0].shape
        owned = math.ceil(matrices / num_owners(mesh, matrices))
        if matrices == 1:  # computed where it is needed
            moved, moves = stacks, 1
        else:
            moved, moves = [*stacks, *results], len(owner_axes(mesh, matrices))
        matrix_bytes = sum(array.dtype.itemsize * math.prod(array.shape[1:]) for array in moved)
        return cls(tuple(shape), matrices, owned, moves * len(moved), moves * owned * matrix_bytes)


def owner_axes(mesh: AbstractMesh, count: int) -> tuple[str, ...]:
    """The mesh axes over which `count` equal matrices are shared out, in the order in which they are."""
    return free_axes(mesh)[::-1] if count > 1 else ()


def num_owners(mesh: AbstractMesh, count: int) -> int:
    """Over how many devices they are."""
    return math.prod(mesh.shape[axis] for axis in owner_axes(mesh, count))


def fills(mesh: AbstractMesh, count: int) -> bool:
    """Whether a leaf of so many equal matrices keeps all devices equally busy by itself."""
    return count % num_owners(mesh, 2) == 0


def shared_mesh(tree: PyTree) -> AbstractMesh | None:
    """The mesh over whose devices matrices are shared out; None on one device, and inside `shard_map`."""
    for leaf in jax.tree.leaves(tree):
        mesh = jax.typeof(leaf).sharding.mesh
        if free_axes(mesh):
            return mesh
    return None


def free_axes(mesh: AbstractMesh) -> tuple[str, ...]:
    """The axes of more than one device over which the compiler shards, and not the user by `shard_map`."""
    return tuple(
        name
        for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
        if kind != AxisType.Manual and mesh.shape[name] > 1
    )
