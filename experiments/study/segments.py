"""Long sweeps in segments, between which they are saved, and taken up again where they were left."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree
from rich.console import Console

import workloads
from experiments.study.checkpoints import Checkpoints
from experiments.study.processes import from_all, from_first
from experiments.study.stopping import Stopped, StopRequest
from workloads import LongSweep, Stages, SweepState

SAVE_EVERY_SECONDS = 60


@dataclass(frozen=True)
class Segments:
    """Computes `workloads.long_sweep`, and leaves checkpoints of it.

    Attributes:
      checkpoints: where they go.
      stop: SIGTERM, after which the state is saved and the study ends.
      console: where it is said that a sweep goes on from a checkpoint, or that one is damaged; nowhere when
        None.
      seconds: the least from one checkpoint to the next.
    """

    checkpoints: Checkpoints
    stop: StopRequest
    console: Console | None = None
    seconds: float = SAVE_EVERY_SECONDS

    def sweep(
        self,
        stages: Callable[[PyTree, PyTree], Stages],
        inputs: PyTree,
        data: PyTree,
        *,
        num_steps: int,
        every: int,
        options: Mapping[str, Any],
    ) -> PyTree:
        """The results of all rows after `num_steps`, which may be saved every so many steps.

        Raises Stopped, with the state saved, where SIGTERM came to one of the processes.
        """
        sweep = workloads.long_sweep(stages, inputs, data, **options)
        identity = _identity(inputs, num_steps, options["vectorize"])
        state, saved_at = self._begun_or_resumed(sweep, identity, num_steps), time.monotonic()
        while state.step < num_steps:
            state = jax.block_until_ready(sweep.advance(state, min(state.step + every, num_steps)))
            due = time.monotonic() - saved_at >= self.seconds
            stopping, saving = np.any(from_all([self.stop.received, due or self.stop.received]), axis=0)
            if saving and state.step < num_steps:
                self._save(sweep, state, identity)
                saved_at = time.monotonic()
                if stopping:
                    raise Stopped
        return sweep.finish(state)

    def _begun_or_resumed(self, sweep: LongSweep, identity: str, num_steps: int) -> SweepState:
        shapes = sweep.saved_shapes()
        saved = from_first(lambda: self.checkpoints.newest(identity, shapes))
        if saved is None:
            return sweep.begin()
        if self.console:
            self.console.print(
                f"Going on after step {int(saved.step):,} of {num_steps:,}, where it was saved."
            )
        return sweep.restored(saved)

    def _save(self, sweep: LongSweep, state: SweepState, identity: str) -> None:
        saved = sweep.saved(state)
        from_first(lambda: self.checkpoints.save(state.step, identity, saved))


def _identity(inputs: PyTree, num_steps: int, vectorize: int) -> str:
    """What makes a sweep the same one in a resumed study, whatever the devices."""
    digest = hashlib.sha256(repr((num_steps, vectorize)).encode())
    for path, leaf in jax.tree.leaves_with_path(inputs):
        values = np.asarray(leaf)
        digest.update(repr((jax.tree_util.keystr(path), values.dtype.str, values.shape)).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
