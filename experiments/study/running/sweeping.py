"""The sweeps of a study, which give way where memory runs out."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import PyTree
from rich.console import Console

import workloads
from experiments.study.options.errors import StudyError
from experiments.study.running.segments import Segments
from experiments.study.storage.journal import Journal
from workloads import Branching, Stages
from workloads.mesh import RUNS

NARROWED = "vectorize narrowed"  # an event of the journal
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "MemoryError")  # accelerators, CPUs, and Python


class Departure(NamedTuple):
    """Where a run leaves what it shares with others, and where it ends.

    Attributes:
      trunk: what the runs of one trunk have in common; of those of a call, the inputs are equal up to the
        earlier start.
      start: after how many steps it leaves.
      until: how many steps it has in all.
    """

    trunk: Hashable
    start: int
    until: int


class Sweep:
    """(run, inputs, data, capacity=, vectorize=) → the results of `workloads.sweep` on the study's devices.

    Where the devices have not the memory, the rows are computed in halves, quarters and so on, which changes
    no bit; where that does not help, fewer runs side by side. That changes last bits, so the journal
    remembers it, and a resumed study begins with the narrower width.
    """

    def __init__(
        self,
        mesh: Mesh,
        journal: Journal | None = None,
        segments: Segments | None = None,
        console: Console | None = None,
    ):
        """`journal`: what remembers a narrower width; `segments`: how long sweeps are computed, if there are
        any; `console`: where a narrower width is said."""
        self.mesh = mesh
        self._journal, self._segments, self._console = journal, segments, console
        narrowed = journal.events(NARROWED) if journal else []
        self._widest = min((event["to"] for event in narrowed), default=None)
        self._rooms: dict[Callable, int] = {}

    def __call__(
        self,
        run: Callable[[PyTree, PyTree], PyTree],
        inputs: PyTree,
        data: PyTree,
        *,
        capacity: int | None = None,
        vectorize: int = 1,
    ) -> PyTree:
        def compute(rows: PyTree, **options: Any) -> PyTree:
            return workloads.sweep(run, rows, data, **options)

        return self._computed(compute, run, inputs, capacity, vectorize)

    def staged(
        self,
        stages: Callable[[PyTree, PyTree], Stages],
        inputs: PyTree,
        data: PyTree,
        *,
        num_steps: int,
        capacity: int | None = None,
        vectorize: int = 1,
    ) -> PyTree:
        """The results of runs in stages after `num_steps`, which may be saved on the way."""

        def compute(rows: PyTree, **options: Any) -> PyTree:
            sweep = workloads.long_sweep(stages, rows, data, **options)
            return self._segments.results(sweep, num_steps) if self._segments else sweep.whole(num_steps)

        return self._computed(compute, stages, inputs, capacity, vectorize)

    def branched(
        self,
        stages: Callable[[PyTree, PyTree], Stages],
        inputs: PyTree,
        data: PyTree,
        departures: Sequence[Departure],
        *,
        capacity: int | None = None,
        vectorize: int = 1,
    ) -> PyTree:
        """The results of `workloads.branch_sweep`: a trunk is trained once for all its rows that are computed
        together."""

        def compute(piece: tuple[PyTree, np.ndarray], **options: Any) -> PyTree:
            rows, places = piece
            chosen = [departures[place] for place in places]
            # up to its last start, a trunk is the run that leaves it there
            latest = {
                chosen[row].trunk: row for row in sorted(range(len(chosen)), key=lambda k: chosen[k].start)
            }
            numbers = {trunk: number for number, trunk in enumerate(latest)}
            trunks = jax.tree.map(lambda leaf: leaf[[*latest.values()]], rows)
            ends = [Branching(numbers[trunk], start, until) for trunk, start, until in chosen]
            starts = {start for _, start, _ in chosen}
            states = workloads.trunk_states(stages, trunks, starts, data, **options)
            return workloads.branch_sweep(stages, states, rows, ends, data, **options)

        return self._computed(compute, stages, (inputs, np.arange(len(departures))), capacity, vectorize)

    def together(self, vectorize: int) -> int:
        """How many runs are computed at a time."""
        return self.mesh.shape[RUNS] * vectorize

    def _computed(
        self,
        compute: Callable[..., PyTree],
        program: Callable,
        inputs: PyTree,
        capacity: int | None,
        vectorize: int,
    ) -> PyTree:
        """The results of `compute` for all rows, in as many pieces as the memory wants."""
        num_rows = len(jax.tree.leaves(inputs)[0])
        capacity = num_rows if capacity is None else capacity
        while True:
            room = min(capacity, self._rooms.get(program, capacity))
            width = vectorize if self._widest is None else min(vectorize, self._widest)
            options = {"mesh": self.mesh, "capacity": room, "vectorize": width}
            try:
                pieces = [
                    jax.block_until_ready(compute(rows, **options))
                    for rows in _pieces(inputs, num_rows, room)
                ]
            except (jax.errors.JaxRuntimeError, MemoryError) as error:
                if not any(words in repr(error) for words in OUT_OF_MEMORY):
                    raise
                self._give_way(program, room, width, error)
            else:
                return pieces[0] if len(pieces) == 1 else jax.tree.map(_joined, *pieces)

    def _give_way(self, program: Callable, room: int, width: int, error: Exception) -> None:
        """Make the next attempt smaller. Raises StudyError where there is nothing smaller."""
        side_by_side = self.together(width)
        if jax.process_count() > 1:
            raise StudyError(
                f"Out of memory with {room} rows, {width} side by side. Several processes cannot give way one"
                f" by one: choose fewer rows or a narrower vectorize. ({error})"
            )
        if room > side_by_side:
            self._rooms[program] = max(side_by_side, room // 2)
        elif width > 1:
            self._narrow(width, width // 2)
        else:
            raise StudyError(f"Out of memory, even for a single run on each device. ({error})")

    def _narrow(self, width: int, narrower: int) -> None:
        self._widest = narrower
        if self._journal:
            self._journal.record_event(NARROWED, {"from": width, "to": narrower})
        if self._console:
            self._console.print(
                f"Out of memory: from here on {narrower} runs side by side on a device, not {width}."
                " The journal remembers it."
            )


def _pieces(inputs: PyTree, num_rows: int, room: int) -> list[PyTree]:
    if num_rows <= room:
        return [inputs]
    return [
        jax.tree.map(lambda leaf, start=start: leaf[start : start + room], inputs)
        for start in range(0, num_rows, room)
    ]


def _joined(*pieces: jax.Array) -> np.ndarray:
    return np.concatenate([np.asarray(piece) for piece in pieces])
