"""Runs that are looked at from their own end: trained to it, then trained again and measured towards it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from experiments.study.storage.journal import Identity
from schedules.search import named_key
from workloads import Run


class MeasuredTrial(NamedTuple):
    """A run that is measured.

    Attributes:
      identity: what makes this trial the same one in a resumed study.
      base_lr: its peak learning rate.
      purpose: the name of its key, which all trials of a purpose and a replicate share.
    """

    identity: Identity
    base_lr: float
    purpose: str

    @property
    def stage(self) -> str:
        return self.identity[0]

    @property
    def params(self) -> dict[str, float]:
        return {}

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        return named_key(root, self.purpose, self.identity[-1])


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
