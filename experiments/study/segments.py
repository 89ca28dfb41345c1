"""Long sweeps in segments, between which they are saved, and taken up again where they were left."""

import hashlib
import time
from collections.abc import Callable, Mapping
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


class Segments:
    """Computes long sweeps in segments, and leaves checkpoints between them.

    A checkpoint is of one sweep, the first of the session that comes after the one that left it.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        stop: StopRequest,
        seconds: float,
        console: Console | None,
    ):
        """`stop`: a signal, after which the state is saved and the study ends; `seconds`: the least from one
        checkpoint to the next; `console`: where damaged checkpoints and those gone on from are told."""
        self._checkpoints, self._stop, self._console, self._seconds = checkpoints, stop, console, seconds
        self._first = True

    def rows_left(self) -> int | None:
        """How many rows the sweep has that an earlier session left; None where it left none."""
        identity = from_first(self._checkpoints.newest_identity)
        return None if identity is None else int(identity.split()[0])

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
        """The results of `workloads.long_sweep` after `num_steps`, which may be saved every so many steps.

        Raises Stopped, with the state saved, where a signal asked for it in one of the processes.
        """
        sweep = workloads.long_sweep(stages, inputs, data, **options)
        identity = _identity(inputs, num_steps, options["vectorize"])
        state, saved_at = self._begun_or_resumed(sweep, identity, num_steps), time.monotonic()
        while state.step < num_steps:
            state = jax.block_until_ready(sweep.advance(state, min(state.step + every, num_steps)))
            due = time.monotonic() - saved_at >= self._seconds
            stopping, saving = np.max(from_all([self._stop.received, due or self._stop.received]), axis=0)
            if saving and state.step < num_steps:
                self._save(sweep, state, identity)
                saved_at = time.monotonic()
                if stopping:
                    raise Stopped(stopping)
        return sweep.finish(state)

    def clear(self) -> None:
        """Delete all checkpoints."""
        from_first(self._checkpoints.clear)

    def _begun_or_resumed(self, sweep: LongSweep, identity: str, num_steps: int) -> SweepState:
        if not self._first:
            return sweep.begin()
        self._first = False
        shapes = sweep.saved_shapes()
        found, problems = from_first(lambda: self._checkpoints.newest(identity, shapes))
        for problem in problems:
            self._say(problem)
        if found is None:
            return sweep.begin()
        self._say(f"Going on after step {found.step:,} of {num_steps:,}, as it was saved.")
        return sweep.restored(found.saved)

    def _save(self, sweep: LongSweep, state: SweepState, identity: str) -> None:
        saved = sweep.saved(state)
        from_first(lambda: self._checkpoints.save(state.step, identity, saved))

    def _say(self, message: str) -> None:
        if self._console:
            self._console.print(message)


def _identity(inputs: PyTree, num_steps: int, vectorize: int) -> str:
    """What makes a sweep the same one in a resumed study, whatever the devices; its number of rows first."""
    digest = hashlib.sha256(repr((num_steps, vectorize)).encode())
    for path, leaf in jax.tree.leaves_with_path(inputs):
        values = np.asarray(leaf)
        digest.update(repr((jax.tree_util.keystr(path), values.dtype.str, values.shape)).encode())
        digest.update(values.tobytes())
    return f"{len(jax.tree.leaves(inputs)[0])} {digest.hexdigest()}"
