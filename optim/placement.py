"""How the matrices of a model are shared out over the devices of a mesh, and what that costs a step.

There are three ways. Devices own whole matrices, which come to their owner and go back: equal matrices make a
batch, and batches of several sizes are packed into one where that is cheaper. Or a single matrix comes to all
devices, each of which computes it. Or matrices stay in shards along their long side, and only the Gram matrix
of the short side is summed up, on all devices.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType
from jaxtyping import Array, PyTree

from optim.flops import matrix_flops

# of an accelerator of today (NVIDIA H100: dense TF32, and NVLink in one direction), to compare the ways by
FLOPS_A_SECOND, BYTES_A_SECOND, SECONDS_A_COLLECTIVE = 5e14, 4.5e11, 1e-5


class Batch(NamedTuple):
    """Equal matrices, and what one of them costs.

    Attributes:
      matrices: how many they are.
      shape: rows and columns of each, as its leaf has them.
      moved: bytes that go to its owner.
      returned: bytes that come back.
      kept: bytes of what takes the place of what is known of it on all devices.
      results: how many arrays these are.
      flops: of its products.
      dtypes: of all that is known of it.
    """

    matrices: int
    shape: tuple[int, int]
    moved: int
    returned: int
    kept: int
    results: int
    flops: int
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, function: Callable[..., tuple[Array, ...]], stacks: Sequence[Array]) -> "Batch":
        """Of the matrices and what is known of them, for a function that returns matrices again and what
        takes the place of what was known."""
        (moved, *known) = single = [jax.ShapeDtypeStruct((1, *s.shape[1:]), s.dtype) for s in stacks]
        results = jax.eval_shape(function, *single)
        count = len(results) - len(known)
        return cls(
            len(stacks[0]),
            moved.shape[1:],
            _bytes([moved]),
            _bytes(results[:count]),
            _bytes(results[count:]),
            len(results),
            matrix_flops(function, *single),
            tuple(str(stack.dtype) for stack in stacks),
        )

    @property
    def seconds(self) -> float:
        """Of its owner, for one matrix."""
        return self.flops / FLOPS_A_SECOND + (self.moved + self.returned) / BYTES_A_SECOND


class Placement(NamedTuple):
    """Where the matrices of one or several batches are computed.

    Attributes:
      batches: (matrices, (rows, columns)) of each.
      dealt: how many of each batch every device owns; empty where all devices compute all of them.
      flops: of the device with most to do.
      share: that, of what one device alone would do.
      collectives: that move the matrices in a step, where rows and columns are sharded over every axis of the
        mesh, and what a low-rank method keeps of the matrices is on all devices, as at its `init`; in shards,
        where the short side is sharded.
      received: bytes that these bring to each device, its own part counted.
      least: those that would do: of what moves, a device's equal part, and of what is on all devices, all.
    """

    batches: tuple[tuple[int, tuple[int, int]], ...]
    dealt: tuple[tuple[int, ...], ...]
    flops: int
    share: float
    collectives: int
    received: int
    least: int

    @property
    def seconds(self) -> float:
        return (
            self.flops / FLOPS_A_SECOND
            + self.received / BYTES_A_SECOND
            + self.collectives * SECONDS_A_COLLECTIVE
        )

    @property
    def owned(self) -> str:
        """What a device has, of each kind of device.

        >>> sizes = ((12, (256, 256)), (12, (256, 1024)))
        >>> Placement(sizes, ((0, 2), (3, 1)), 0, 0.0, 0, 0, 0).owned
        '0 + 2, 3 + 1'
        """
        if not self.dealt:
            return "columns" if self.collectives > 1 else "all"
        return ", ".join(" + ".join(map(str, content)) for content in programs(self.dealt))

    @classmethod
    def by_owners(cls, mesh: AbstractMesh, batches: Sequence[Batch]) -> "Placement":
        """Every device whole matrices of its own."""
        sizes = [mesh.shape[axis] for axis in free_axes(mesh)]
        devices, contents = math.prod(sizes), deal(batches, num_devices(mesh))

        def busiest(costs):
            return max(_total(costs, content) for content in contents)

        moved = [batch.moved + batch.returned for batch in batches]
        kept = [batch.kept for batch in batches]
        # what is kept leaves its owners by one axis after the other, more of it each time
        gathered = sum(np.cumprod(sizes).tolist())
        return cls._of(
            batches,
            contents,
            flops=max(_total([batch.flops for batch in batches], content) for content in programs(contents)),
            collectives=len(sizes) * (1 + batches[0].results),
            received=len(sizes) * busiest(moved) + gathered * busiest(kept),
            least=_all(moved, batches) // devices + _all(kept, batches),
        )

    @classmethod
    def everywhere(cls, batch: Batch) -> "Placement":
        """All devices a single matrix, of which none has to send it back."""
        return cls._of([batch], (), batch.flops, 1, batch.moved, batch.moved)

    @classmethod
    def in_shards(cls, mesh: AbstractMesh, batch: Batch, flops: int, gram_sums: int) -> "Placement":
        """All devices a part of the long side, and the Gram matrix of the short one."""
        devices, (short, long) = num_devices(mesh), sorted(batch.shape)
        wide_bytes = max(batch.moved // (short * long), 4)
        shards = batch.matrices * (batch.moved + batch.returned) // devices
        summed = batch.matrices * wide_bytes * (devices + gram_sums * short**2)
        return cls._of([batch], (), flops, 2 + 1 + gram_sums, shards + summed, shards + summed)

    @classmethod
    def _of(
        cls,
        batches: Sequence[Batch],
        dealt: tuple[tuple[int, ...], ...],
        flops: int,
        collectives: int,
        received: int,
        least: int,
    ) -> "Placement":
        whole = _all([batch.flops for batch in batches], batches)
        sizes = tuple((batch.matrices, batch.shape) for batch in batches)
        return cls(sizes, dealt, flops, flops / whole if whole else 1.0, collectives, received, least)


def plan(
    mesh: AbstractMesh, batches: Sequence[Batch], in_shards: Mapping[int, Placement]
) -> Iterator[tuple[tuple[int, ...], Placement]]:
    """The cheapest placement of all batches: the places of those that go together, and where they go.

    First every batch by itself, in shards where what `in_shards` has at its place is cheaper. On a mesh of
    one axis all others whose sides it divides are packed, where that takes less time and no more FLOPs: by
    two axes the partitioner moves tiles many times.
    """
    singles = {}
    for place, batch in enumerate(batches):
        whole = Placement.everywhere(batch) if batch.matrices == 1 else Placement.by_owners(mesh, [batch])
        singles[place] = min(whole, in_shards.get(place, whole), key=lambda way: way.seconds)
        if singles[place] is not whole:
            yield (place,), singles.pop(place)
    alike: dict[tuple, list[int]] = {}
    for place in singles:
        divided = all(side % num_devices(mesh) == 0 for side in batches[place].shape)
        packable = divided and len(free_axes(mesh)) == 1
        alike.setdefault(batches[place].dtypes if packable else (place,), []).append(place)
    for places in alike.values():
        separate = [singles[place] for place in places]
        packed = Placement.by_owners(mesh, [batches[place] for place in places])
        cheaper = packed.seconds < sum(way.seconds for way in separate)
        if len(places) > 1 and cheaper and packed.flops <= sum(way.flops for way in separate):
            yield tuple(places), packed
        else:
            yield from (((place,), singles[place]) for place in places)


def deal(batches: Sequence[Batch], devices: int) -> tuple[tuple[int, ...], ...]:
    """How many of each batch every device owns: the costliest first, each to the device with least to do.

    >>> squares, wides = (Batch(12, (256, n), n, n, 0, 1, n, ()) for n in (256, 1024))
    >>> deal([squares, wides], 8)
    ((0, 2), (0, 2), (0, 2), (0, 2), (3, 1), (3, 1), (3, 1), (3, 1))
    """
    dealt = np.zeros((devices, len(batches)), int)
    costs = np.array([batch.seconds for batch in batches])
    loads = np.zeros(devices)
    for place in np.argsort(-costs, kind="stable"):
        for _ in range(batches[place].matrices):
            device = int(np.argmin(loads))
            dealt[device, place] += 1
            loads[device] += costs[place]
    return tuple(map(tuple, dealt.tolist()))


def programs(contents: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
    """What is compiled: who owns no more of anything than another runs that one's program, with blanks.

    >>> programs([(2, 0), (1, 0), (1, 3)])
    ((2, 0), (1, 3))
    """
    distinct = tuple(dict.fromkeys(contents))
    return tuple(
        content
        for content in distinct
        if not any(content != other and covers(other, content) for other in distinct)
    )


def covers(program: Sequence[int], content: Sequence[int]) -> bool:
    """Whether a program computes so many of each batch."""
    return all(most >= count for most, count in zip(program, content, strict=True))


def _total(costs: Sequence[int], content: Sequence[int]) -> int:
    return sum(cost * count for cost, count in zip(costs, content, strict=True))


def _all(costs: Sequence[int], batches: Sequence[Batch]) -> int:
    return _total(costs, [batch.matrices for batch in batches])


def _bytes(arrays: Sequence[jax.ShapeDtypeStruct]) -> int:
    return sum(array.dtype.itemsize * array.size for array in arrays)


def num_devices(mesh: AbstractMesh) -> int:
    """Those over which matrices are shared out."""
    return math.prod(mesh.shape[axis] for axis in free_axes(mesh))


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
