"""What a training run is: its keys, its state between two updates, and its stages."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree


class RunKeys(NamedTuple):
    """What a run draws from: initialisation, data order, the loss's own noise, probes, sampled weights."""

    init: PRNGKeyArray
    data: PRNGKeyArray
    loss: PRNGKeyArray
    probe: PRNGKeyArray
    sample: PRNGKeyArray


def run_keys(key: PRNGKeyArray) -> RunKeys:
    """The keys of the run that `key` stands for."""
    return RunKeys(*jax.random.split(key, len(RunKeys._fields)))


class Run(NamedTuple):
    """A run between two updates, or a finished one.

    All that the next updates need besides the run's inputs and how many are done: the examples and the keys
    of a step derive from its number. What a compiled function does not return of a run is not kept.

    Attributes:
      params: the parameters.
      average: the average of the parameters that is evaluated, see `average_decay`; None without.
      optimizer_state: the state of the transformation.
      metrics: what `workload.evaluate` returned at each evaluated step; zero at those to come.
      losses: of each step's batch, before the step's update; zero at those to come. Take every k-th for a
        curve of any stride.
      probes: the probe's records at each probed step; zero at those to come.
    """

    params: PyTree
    average: PyTree | None
    optimizer_state: PyTree
    metrics: dict[str, Float[Array, "evaluations"]]
    losses: Float[Array, "steps"]
    probes: dict[str, PyTree]

    @property
    def evaluated(self) -> PyTree:
        """The average of the parameters where there is one, else they themselves."""
        return self.params if self.average is None else self.average


class Stages(NamedTuple):
    """A computation that can be left between two steps and taken up again.

    How many steps are done is an argument and no part of the state, since it is the same for all runs of a
    sweep: mapped over like them, it would make every branch on it compute both sides.

    Attributes:
      begin: () → the state before the first step.
      advance: (the state after `start` steps, start, until) → the state after `until` steps. Both counts may
        be traced: one compiled program then serves every segment, and the bits do not depend on the cuts.
      finish: the state after the last step → the results.
    """

    begin: Callable[[], PyTree]
    advance: Callable[[PyTree, int | Int[Array, ""], int | Int[Array, ""]], PyTree]
    finish: Callable[[PyTree], PyTree]

    def whole(self, num_steps: int) -> PyTree:
        """The results of that many steps, at once.

        Between numbers that are known, the loop is a scan, and derivatives can go back through it.
        """
        return self.finish(self.advance(self.begin(), 0, num_steps))


@dataclasses.dataclass(frozen=True)
class AtOnce:
    """(row, data) → the stages of a computation that has none, and so no state: all of it is the last one.

    Two of the same are one program.

    Attributes:
      run: (row, data) → the results.
    """

    run: Callable[[PyTree, PyTree], PyTree]

    def __call__(self, row: PyTree, data: PyTree) -> Stages:
        return Stages(lambda: None, lambda state, start, until: state, lambda state: self.run(row, data))
