"""Several processes that make one study together, each with its own devices; process 0 does the writing."""

import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from experiments.study.choices import StudyError

AUTO = "auto"
LOST_AFTER_SECONDS = 30  # without a sign of life
FAREWELL_SECONDS = 10  # that a process waits for the others at its end

ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Cluster:
    """How the processes of a study find each other; one process alone where nothing is given."""

    coordinator: str | None = None
    """HOST:PORT where process 0 listens, for a study in several processes that all run this command; `auto`
    under SLURM, Open MPI, or on a pod of TPUs or GPUs, which tell each process its place. From
    JAX_COORDINATOR_ADDRESS when not given."""
    num_processes: int | None = None
    """How many processes there are; from JAX_NUM_PROCESSES when not given."""
    process_id: int | None = None
    """Which of them this is, counted from 0; from JAX_PROCESS_ID when not given."""

    def join(self, console: Console) -> None:
        """Connect to the other processes, of which the first alone goes on to use the console. Call it before
        anything is computed.

        Raises StudyError where the place of this process is not known, or the others are not reached.
        """
        coordinator = self.coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
        if coordinator is None:
            self._check_alone()
            return
        place = (None, None) if coordinator == AUTO else self._place()
        jax.config.update("jax_enable_preemption_service", False)  # a study meets SIGTERM by itself
        try:
            jax.distributed.initialize(
                None if coordinator == AUTO else coordinator,
                *place,
                heartbeat_timeout_seconds=LOST_AFTER_SECONDS,
                shutdown_timeout_seconds=FAREWELL_SECONDS,
            )
        except (ValueError, RuntimeError) as error:
            raise StudyError(f"coordinator: {coordinator} brought no processes together: {error}.") from None
        console.quiet = not is_first()

    def _place(self) -> tuple[int, int]:
        count = _from_environment("num_processes", self.num_processes, "JAX_NUM_PROCESSES")
        process = _from_environment("process_id", self.process_id, "JAX_PROCESS_ID")
        if count < 1:
            raise StudyError(f"num_processes: must be at least 1, got {count}.")
        if not 0 <= process < count:
            raise StudyError(f"process_id: must be in [0, {count}), got {process}.")
        return count, process

    def _check_alone(self) -> None:
        for field, value in (("num_processes", self.num_processes), ("process_id", self.process_id)):
            if value is not None:
                raise StudyError(f"{field}: it needs coordinator, where the processes meet.")


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return jax.process_index() == 0


def from_first(make: Callable[[], ValueT]) -> ValueT:
    """What `make()` returns in process 0, in every process; a StudyError that it raises is raised in all.

    Nothing is called in the other processes. The value is pickled.
    """
    if jax.process_count() == 1:
        return make()
    made = _outcome(make) if is_first() else b""
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(made))))
    words = np.frombuffer(made, np.uint8) if is_first() else np.zeros(size, np.uint8)
    error, value = pickle.loads(multihost_utils.broadcast_one_to_all(words).tobytes())
    if error is not None:
        raise StudyError(error)
    return value


def from_all(values: Sequence[int]) -> np.ndarray:
    """Some numbers below 2^32 of every process, stacked, in every process."""
    return multihost_utils.process_allgather(np.asarray(values, np.uint32))


def _outcome(make: Callable[[], object]) -> bytes:
    try:
        return pickle.dumps((None, make()))
    except StudyError as error:
        return pickle.dumps((str(error), None))


def _from_environment(field: str, value: int | None, name: str) -> int:
    if value is not None:
        return value
    text = os.environ.get(name, "")
    if not text.isdigit():
        raise StudyError(f"{field}: needed beside coordinator, as an option or as {name}, got {text!r}.")
    return int(text)
