"""Runs that are looked at from their own end: trained to it, then trained again and measured towards it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from workloads import Run


def replayed(train: Callable[[PyTree, Bool[Array, ""]], Run], params: PyTree) -> tuple[Run, Bool[Array, ""]]:
    """Train twice from the same key, the second time measuring towards the end of the first; the second run,
    and whether both ended alike in every bit.

    Args:
      train: (end, measuring) → the whole run, whose probe measures towards the parameters `end`. In the first
        pass they are zero, and `measuring` is False.
      params: the shapes of the parameters.
    """

    def one_pass(end, measuring):
        run = train(end, measuring)
        return run.params, run

    # one loop over one program: two programs could differ in their last bits, and then in everything
    start = jax.tree.map(jnp.zeros_like, params)
    _, passes = jax.lax.scan(one_pass, start, jnp.array([False, True]))
    alike = jax.tree.map(lambda leaf: jnp.array_equal(leaf[0], leaf[1], equal_nan=True), passes.params)
    return jax.tree.map(lambda leaf: leaf[1], passes), jnp.all(jnp.stack(jax.tree.leaves(alike)))
