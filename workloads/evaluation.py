"""Means over a whole split, a block of examples after the other, so that memory is bounded."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PyTree

from workloads.mesh import data_shards, split_over_data


def mean_over_examples(
    measure: Callable[[Int[Array, "block"]], PyTree], num_examples: int, block_size: int
) -> PyTree:
    """The means of what `measure` says of each example, over the examples 0 … num_examples - 1.

    Blocks are of equal size; the last is filled up with the last example, which then counts for nothing.
    Where the mesh in scope has an axis "data", its devices share every block.

    Args:
      measure: indices of a block → arrays with one value an example.
      num_examples: of the split.
      block_size: the most examples measured at once, by one device.
    """
    shards = data_shards()
    num_blocks = -(-num_examples // (block_size * shards))
    block = -(-num_examples // (num_blocks * shards)) * shards

    def sums(start):
        index = start + jnp.arange(block)
        values = measure(split_over_data(jnp.minimum(index, num_examples - 1), axis=0))
        return jax.tree.map(lambda leaf: jnp.sum(jnp.where(index < num_examples, leaf, 0)), values)

    totals = jax.lax.map(sums, block * jnp.arange(num_blocks))
    return jax.tree.map(lambda leaf: jnp.sum(leaf) / num_examples, totals)
