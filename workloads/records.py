"""What is measured at some of a run's steps, in slots that are there before the first."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree


def empty_slots(count: int, shapes: PyTree) -> PyTree:
    """Zeros for `count` measurements of these shapes and dtypes."""
    return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), shapes)


def record(
    slots: PyTree, steps: Sequence[int], t: Int[Array, ""], num_steps: int, measure: Callable[[], PyTree]
) -> PyTree:
    """Write `measure()` into its slot when `t` is among `steps`; nothing is computed otherwise.

    The step index is never batched, so under `vmap` the `cond` stays a branch.
    """
    slot_of_step = np.full(num_steps, -1)
    for slot, step in enumerate(steps):
        if step < num_steps:
            slot_of_step[step] = slot
    if np.all(slot_of_step < 0):
        return slots
    slot = jnp.asarray(slot_of_step)[t]

    def write():
        return jax.tree.map(lambda all_slots, value: all_slots.at[slot].set(value), slots, measure())

    return jax.lax.cond(slot >= 0, write, lambda: slots)
