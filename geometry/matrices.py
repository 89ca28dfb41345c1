"""Tensors as matrices: which axes are rows and columns, and all equal matrices of a model as one batch."""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

_BATCHED_BELOW = 64  # a CPU takes larger matrices one by one; accelerators batch all sizes
_UNROLLED = 64  # so many at most one beside the other, for every core to take some; more go in turn


@dataclass(frozen=True)
class MatrixView:
    """How a tensor is seen as matrices of fan-in × fan-out.

    Attributes:
      rows: the axes that together are the rows, the fan-in.
      columns: the axes that together are the columns, the fan-out.
      batch: the axes that count matrices, such as attention heads.
      blocks: sizes of column blocks that are matrices of their own, such as those of a fused QKV kernel;
        all columns are one block when empty.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    batch: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()

    def check(self, path: str, shape: Sequence[int]) -> None:
        """Raise ValueError, naming the leaf, unless this view fits a tensor of that shape."""
        if sorted((*self.batch, *self.rows, *self.columns)) != list(range(len(shape))):
            raise ValueError(f"{path}: {self} must name every axis of the shape {tuple(shape)} once")
        if not (self.rows and self.columns):
            raise ValueError(f"{path}: {self} needs at least one axis of rows and one of columns")
        if self.blocks and (min(self.blocks) < 1 or sum(self.blocks) != self._sizes(shape)[2]):
            raise ValueError(
                f"{path}: blocks must add up to the {self._sizes(shape)[2]} columns, got {self.blocks}"
            )

    def matrix_shapes(self, shape: Sequence[int]) -> tuple[tuple[int, int, int], ...]:
        """(matrices, fan-in, fan-out) of every block."""
        batch, rows, columns = self._sizes(shape)
        return tuple((batch, rows, block) for block in self.blocks or (columns,))

    def split(self, x: Float[Array, "*shape"]) -> list[Float[Array, "matrices rows columns"]]:
        """The blocks of `x`, each a stack of matrices."""
        batch, rows, columns = self._sizes(x.shape)
        stack = x.transpose(*self.batch, *self.rows, *self.columns).reshape(batch, rows, columns)
        return jnp.split(stack, list(accumulate(self.blocks))[:-1], axis=-1) if self.blocks else [stack]

    def join(
        self, stacks: Sequence[Float[Array, "matrices rows _"]], shape: Sequence[int]
    ) -> Float[Array, "*shape"]:
        """The tensor of that shape that `split` took apart."""
        order = (*self.batch, *self.rows, *self.columns)
        stack = jnp.concatenate(stacks, axis=-1) if self.blocks else stacks[0]
        return stack.reshape([shape[axis] for axis in order]).transpose(
            [order.index(axis) for axis in range(len(shape))]
        )

    def _sizes(self, shape: Sequence[int]) -> tuple[int, int, int]:
        return tuple(
            math.prod(shape[axis] for axis in axes) for axes in (self.batch, self.rows, self.columns)
        )


PLAIN = MatrixView(rows=(0,), columns=(1,))

# (path, shape) → how a leaf is seen as matrices, None where it is not
ViewRule = Callable[[str, tuple[int, ...]], MatrixView | None]


def plain_matrices(path: str, shape: tuple[int, ...]) -> MatrixView | None:
    """Leaves of two axes are matrices, all others are not."""
    return PLAIN if len(shape) == 2 else None


def leaf_path(key_path: tuple) -> str:
    """The path of a leaf as "block_0/attention/kernel", the same for Linen and NNX trees."""
    names = jax.tree_util.keystr(key_path, simple=True, separator="/").split("/")
    in_variable = len(names) > 1 and isinstance(key_path[-1], jax.tree_util.GetAttrKey)
    return "/".join(names[:-1] if in_variable and names[-1] == "value" else names)


def wide(stack: Float[Array, "matrices rows columns"]) -> Float[Array, "matrices short long"]:
    """The matrices, transposed where they have more rows than columns."""
    return stack.mT if stack.shape[1] > stack.shape[2] else stack


def over_stack(
    function: Callable[[Array], Array], stack: Float[Array, "matrices rows columns"]
) -> Float[Array, "matrices *result"]:
    """`function` of a stack of matrices, as one batched call or matrix by matrix, whichever is faster."""
    if len(stack) == 1:  # XLA's batched products on a CPU are up to 1.5 times slower, also of one matrix
        return function(stack[0])[None]
    if min(stack.shape[1:]) < _BATCHED_BELOW:
        return function(stack)
    return jax.lax.platform_dependent(stack, cpu=functools.partial(_one_by_one, function), default=function)


def _one_by_one(function: Callable[[Array], Array], stack: Array) -> Array:
    """The program that the same matrices apart would be: never slower than that, on any processor."""
    if 0 < len(stack) <= _UNROLLED:
        return jnp.stack([function(matrix) for matrix in stack])
    return jax.lax.map(function, stack)


def in_equal_batches(function: Callable[..., tuple], *columns: Sequence[Array]) -> tuple[list[Array], ...]:
    """Apply a function of stacks to many stacks, those of equal matrices joined in one call.

    A transformer's dozens of equal matrices become one batched product each, and one to compile.

    Args:
      function: stacks → a tuple of stacks, all with the matrices as leading axis.
      columns: for each argument of `function`, a list of stacks.

    Returns:
      For each result of `function`, a list of stacks in the order given.
    """
    return by_equal_batches(lambda batches: (function(*batch) for batch in batches), *columns)


def by_equal_batches(
    function: Callable[[Iterable[tuple[Array, ...]]], Iterable[Sequence[Array]]], *columns: Sequence[Array]
) -> tuple[list[Array], ...]:
    """`in_equal_batches`, by a function of all batches at once, each of them a stack of every column."""
    rows = list(zip(*columns, strict=True))
    groups: dict[tuple, list[int]] = {}
    for place, row in enumerate(rows):
        groups.setdefault(tuple((stack.shape[1:], stack.dtype) for stack in row), []).append(place)
    joined = (
        tuple(_joined([rows[place][i] for place in places]) for i in range(len(columns)))
        for places in groups.values()
    )
    results: list = [None] * len(rows)
    for places, stacks in zip(groups.values(), function(joined), strict=True):
        ends = list(accumulate(len(rows[place][0]) for place in places))[:-1]
        outcome = [jnp.split(stack, ends) for stack in stacks]
        for place, *parts in zip(places, *outcome, strict=True):
            results[place] = parts
    return tuple(map(list, zip(*results, strict=True)))


def _joined(stacks: Sequence[Array]) -> Array:
    return jnp.concatenate(stacks) if len(stacks) > 1 else stacks[0]


def leaves_by_path(tree: PyTree) -> dict[str, Any]:
    """Every leaf by its path, in the tree's order.

    Raises ValueError where two leaves share a path, as those of {"a/b": 0, "a": {"b": 0}} do.
    """
    leaves: dict[str, Any] = {}
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = leaf_path(key_path)
        if path in leaves:
            raise ValueError(f"{path}: two leaves have this path; rename one")
        leaves[path] = leaf
    return leaves


def tree_shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
    """The shape of every leaf by path."""
    return {path: leaf.shape for path, leaf in leaves_by_path(tree).items()}
