"""Matrices of several sizes as equal tiles, which devices own: what is moved to them and back."""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Stack = Float[Array, "_ _ _"]  # matrices, of another size in every batch
Content = tuple[int, ...]  # how many matrices of each batch


class Tiles(NamedTuple):
    """The tiles of several batches of matrices in the order of the devices that own them, equally many each.

    A tile takes every so many-th row and column of its matrix, so that a matrix whose rows or columns are
    sharded is cut into tiles which are sharded alike, and nothing is sent.

    Attributes:
      shapes: rows and columns of the matrices of each batch.
      dealt: how many of each batch every device owns.
      computed: how many of each batch its program computes, the last of them blanks.
    """

    shapes: tuple[tuple[int, int], ...]
    dealt: tuple[Content, ...]
    computed: tuple[Content, ...]

    @property
    def tile(self) -> tuple[int, int]:
        """The largest that all matrices are cut into."""
        rows, columns = zip(*self.shapes, strict=True)
        return max(math.gcd(*rows), 1), max(math.gcd(*columns), 1)  # also of matrices of no size

    @property
    def pieces(self) -> list[int]:
        """Tiles of a matrix of each batch."""
        return [math.prod(shape) // math.prod(self.tile) for shape in self.shapes]

    def laid_out(self, stacks: Sequence[Stack]) -> Float[Array, "tiles high wide"]:
        """Those of all batches by device, zeros for the blanks."""
        tiles, order = jnp.concatenate([_cut(stack, self.tile) for stack in stacks]), self._order
        if np.array_equal(order, np.arange(len(tiles))):  # a stack that is sharded stays where it is
            return tiles
        return jnp.pad(tiles, ((0, 1), (0, 0), (0, 0)))[order]

    def collected(self, tiles: Float[Array, "tiles high wide"]) -> list[Stack]:
        """What `laid_out` laid out."""
        order = self._order
        total = sum(np.sum(self.dealt, axis=0) * self.pieces)
        if not np.array_equal(order, np.arange(total)):
            (positions,) = np.nonzero(order < total)
            tiles = tiles[positions[np.argsort(order[positions])]]
        return self._stacks(tiles, np.sum(self.dealt, axis=0).tolist())

    def owned(self, tiles: Float[Array, "own high wide"], content: Content) -> list[Stack]:
        """The matrices of a device, of each batch that it has any of."""
        used = sum(count * pieces for count, pieces in zip(content, self.pieces, strict=True))
        return [stack for stack in self._stacks(tiles[:used], content) if len(stack)]

    def filled(self, stacks: Sequence[Stack]) -> Float[Array, "own high wide"]:
        """A device's matrices as its tiles, as many as those of any other."""
        tiles = jnp.concatenate([_cut(stack, self.tile) for stack in stacks])
        return jnp.pad(tiles, ((0, self._slots - len(tiles)), (0, 0), (0, 0)))

    @property
    def _slots(self) -> int:
        """Tiles of a device."""
        return max(sum(np.multiply(content, self.pieces).tolist()) for content in self.computed)

    @property
    def _order(self) -> Int[np.ndarray, "tiles"]:
        """Which tile of the joined batches stands in each place; for blanks, the number of all."""
        totals = np.sum(self.dealt, axis=0) * self.pieces
        places = [iter(range(end - total, end)) for end, total in zip(np.cumsum(totals), totals, strict=True)]

        def device(own: Content, program: Content) -> Iterator[int]:
            for place, pieces in enumerate(self.pieces):
                yield from (next(places[place]) for _ in range(own[place] * pieces))
                yield from [sum(totals)] * ((program[place] - own[place]) * pieces)

        order = np.full((len(self.dealt), self._slots), sum(totals))
        for row, own, program in zip(order, self.dealt, self.computed, strict=True):
            standing = list(device(own, program))
            row[: len(standing)] = standing
        return order.ravel()

    def _stacks(self, tiles: Float[Array, "tiles high wide"], content: Sequence[int]) -> list[Stack]:
        ends = accumulate(count * pieces for count, pieces in zip(content, self.pieces, strict=True))
        parts = jnp.split(tiles, list(ends)[:-1])
        return [_joined(*own) for own in zip(parts, content, self.shapes, strict=True)]


def _cut(stack: Stack, tile: tuple[int, int]) -> Float[Array, "tiles high wide"]:
    (rows, columns), (_, *sides) = tile, stack.shape
    parts = stack.reshape(len(stack), rows, sides[0] // rows, columns, sides[1] // columns)
    return parts.transpose(0, 2, 4, 1, 3).reshape(len(stack) * parts.shape[2] * parts.shape[4], rows, columns)


def _joined(tiles: Float[Array, "tiles high wide"], matrices: int, shape: tuple[int, int]) -> Stack:
    """What `_cut` cut."""
    _, rows, columns = tiles.shape
    parts = tiles.reshape(matrices, shape[0] // rows, shape[1] // columns, rows, columns)
    return parts.transpose(0, 3, 1, 4, 2).reshape(matrices, *shape)
