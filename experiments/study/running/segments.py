"""Long sweeps in segments, between which they are saved, and taken up again where they were left."""

import time

import jax
import numpy as np
from jaxtyping import PyTree
from rich.console import Console

from experiments.study.running.execution import Execution
from experiments.study.running.processes import from_all, from_first
from experiments.study.running.stopping import Stopped, StopRequest
from experiments.study.storage.checkpoints import Checkpoints
from workloads import LongSweep, SweepState
from workloads.digest import tree_digest


class Segments:
    """Computes long sweeps, in segments where they are saved on the way, and leaves checkpoints between them.

    A checkpoint is of one sweep, the first of the session that comes after the one that left it.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        stop: StopRequest,
        execution: Execution,
        console: Console | None,
    ):
        """`stop`: a signal, after which the state is saved and the study ends; `console`: where damaged
        checkpoints and those gone on from are told."""
        self._checkpoints, self._stop, self._console, self._execution = checkpoints, stop, console, execution
        self._first = True
        identity = from_first(checkpoints.newest_identity)
        self._interrupted_rows = None if identity is None else int(identity.split()[0])

    @property
    def are_saved(self) -> bool:
        return self._execution.checkpoint_steps > 0

    def interrupted_rows(self) -> int | None:
        """How many rows the sweep has that an earlier session left, told once; None where it left none."""
        rows, self._interrupted_rows = self._interrupted_rows, None
        return rows or None

    def results(self, sweep: LongSweep, num_steps: int) -> PyTree:
        """Those of a sweep after `num_steps`, which may be saved every so many steps.

        Raises Stopped, with the state saved, where a signal asked for it in one of the processes.
        """
        every = self._execution.checkpoint_steps or num_steps
        state, saved_at = self._resumed(sweep, num_steps), time.monotonic()
        if state is None:
            if every >= num_steps:
                return sweep.whole(num_steps)
            state = sweep.begin()
        while state.step < num_steps:
            state = jax.block_until_ready(sweep.advance(state, min(state.step + every, num_steps)))
            due = time.monotonic() - saved_at >= self._execution.checkpoint_seconds
            stopping, saving = np.max(from_all([self._stop.received, due or self._stop.received]), axis=0)
            if saving and state.step < num_steps:
                self._save(sweep, state, num_steps)
                saved_at = time.monotonic()
                if stopping:
                    raise Stopped(stopping)
        return sweep.finish(state)

    def clear(self) -> None:
        """Delete all checkpoints."""
        from_first(self._checkpoints.clear)

    def _resumed(self, sweep: LongSweep, num_steps: int) -> SweepState | None:
        """The state that an earlier session left, if any."""
        if not self._first:
            return None
        self._first = False
        identity, shapes = _identity(sweep, num_steps), sweep.saved_shapes()
        found, problems = from_first(lambda: self._checkpoints.newest(identity, shapes))
        for problem in problems:
            self._say(problem)
        if found is None:
            return None
        self._say(f"Going on after step {found.step:,} of {num_steps:,}, as it was saved.")
        return sweep.restored(found.saved)

    def _save(self, sweep: LongSweep, state: SweepState, num_steps: int) -> None:
        identity, saved = _identity(sweep, num_steps), sweep.saved(state)
        from_first(lambda: self._checkpoints.save(state.step, identity, saved))

    def _say(self, message: str) -> None:
        if self._console:
            self._console.print(message)


def _identity(sweep: LongSweep, num_steps: int) -> str:
    """What makes a sweep the same one in a resumed study, whatever the devices; its number of rows first."""
    facts = repr((num_steps, sweep.program.vectorize)).encode()
    return f"{len(jax.tree.leaves(sweep.inputs)[0])} {tree_digest(sweep.inputs, facts)}"
