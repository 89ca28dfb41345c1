"""Long sweeps in segments, between which they are saved, and taken up again where they were left."""

import time
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import PyTree
from rich.console import Console

from experiments.study.checkpoints import Checkpoints
from experiments.study.checks import CountOrNone, NotNegative, value_problems
from experiments.study.processes import from_all, from_first
from experiments.study.stopping import Stopped, StopRequest
from workloads import LongSweep, SweepState
from workloads.digest import tree_digest

SAVE_EVERY_SECONDS = 60


@dataclass(frozen=True)
class Saving:
    """When runs are saved on the way. It changes no bit of their results, and may change when a study is
    resumed."""

    checkpoint_steps: int = 0
    """Runs of more steps (micro-batches where the batch grows) may be saved at multiples of these, and when
    SIGTERM comes; none when 0. Without effect on the results."""
    checkpoint_seconds: float = SAVE_EVERY_SECONDS
    """The least time from one checkpoint to the next; without effect on the results."""

    def problems(self) -> list[str]:
        """What is wrong with the options."""
        steps = value_problems("checkpoint_steps", self.checkpoint_steps, CountOrNone)
        return steps + value_problems("checkpoint_seconds", self.checkpoint_seconds, NotNegative)


NOT_SAVED = Saving()


class Segments:
    """Computes long sweeps, in segments where they are saved on the way, and leaves checkpoints between them.

    A checkpoint is of one sweep, the first of the session that comes after the one that left it.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        stop: StopRequest,
        saving: Saving,
        console: Console | None,
    ):
        """`stop`: a signal, after which the state is saved and the study ends; `console`: where damaged
        checkpoints and those gone on from are told."""
        self._checkpoints, self._stop, self._console, self._saving = checkpoints, stop, console, saving
        self._first = True

    def rows_left(self) -> int | None:
        """How many rows the sweep has that an earlier session left; None where it left none."""
        identity = from_first(self._checkpoints.newest_identity)
        return None if identity is None else int(identity.split()[0])

    def results(self, sweep: LongSweep, num_steps: int) -> PyTree:
        """Those of a sweep after `num_steps`, which may be saved every so many steps.

        Raises Stopped, with the state saved, where a signal asked for it in one of the processes.
        """
        every = self._saving.checkpoint_steps or num_steps
        state, saved_at = self._resumed(sweep, num_steps), time.monotonic()
        if state is None:
            if every >= num_steps:
                return sweep.whole(num_steps)
            state = sweep.begin()
        while state.step < num_steps:
            state = jax.block_until_ready(sweep.advance(state, min(state.step + every, num_steps)))
            due = time.monotonic() - saved_at >= self._saving.checkpoint_seconds
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
