"""How a batch of equal matrices is shared out over the devices of a mesh, and what that costs a step."""

import math
import operator
from collections.abc import Sequence
from itertools import accumulate
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
      collectives: that move the batch in a step, where rows and columns are sharded over every axis of the
        mesh, and what a low-rank method keeps of the matrices is on all devices, as at its `init`.
      received: bytes that these bring to each device, its own part counted.
    """

    shape: tuple[int, int]
    matrices: int
    owned: int
    collectives: int
    received: int

    @classmethod
    def of(cls, mesh: AbstractMesh, stacks: Sequence[Array], results: Sequence[Array]) -> "Placement":
        """Of stacks that `by_owners` takes, the matrices and what is kept of them, and of the results that it
        returns: matrices again, and what takes the place of what was kept."""
        (moved, *known), axes = stacks, owner_axes(mesh, len(stacks[0]))
        matrices, *shape = moved.shape
        owned = math.ceil(matrices / num_owners(mesh, matrices))
        if not axes:  # a single matrix, computed where it is needed
            return cls(tuple(shape), matrices, owned, 1, _matrix_bytes([moved]))
        count = len(results) - len(known)  # of results that are sharded as the matrices
        # what is kept leaves its owners by one axis after the other, more of it each time
        gathered = sum(accumulate((mesh.shape[axis] for axis in reversed(axes)), operator.mul))
        received = len(axes) * _matrix_bytes([moved, *results[:count]])
        received += gathered * _matrix_bytes(results[count:])
        return cls(tuple(shape), matrices, owned, len(axes) * (1 + len(results)), owned * received)


def _matrix_bytes(stacks: Sequence[Array]) -> int:
    """Those of what each stack has of one matrix."""
    return sum(stack.dtype.itemsize * math.prod(stack.shape[1:]) for stack in stacks)


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
