"""Several processes that make one study together, each with its own devices; process 0 does the writing."""

import os
import pickle
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from rich.console import Console

from experiments.study.options.checks import Check, Count, value_problems
from experiments.study.options.errors import StudyError, raise_problems
from experiments.study.running.devices import started_devices

AUTO = "auto"
ADDRESS_VARIABLE = "JAX_COORDINATOR_ADDRESS"
ADDRESS = Check(f"HOST:PORT or {AUTO}", lambda text: _is_address(text))
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

        Raises StudyError where there are `problems`, or the others are not reached.
        """
        raise_problems(self.problems())
        address = self.address
        if address is None:
            return
        place = (None, None) if address == AUTO else (int(value) for _, value in self._place())
        if os.environ.get(ADDRESS_VARIABLE) == AUTO:
            del os.environ[ADDRESS_VARIABLE]  # JAX would take it for a host
        jax.config.update("jax_enable_preemption_service", False)  # a study meets SIGTERM by itself
        try:
            jax.distributed.initialize(
                None if address == AUTO else address,
                *place,
                heartbeat_timeout_seconds=LOST_AFTER_SECONDS,
                shutdown_timeout_seconds=FAREWELL_SECONDS,
            )
        except (ValueError, RuntimeError) as error:
            raise StudyError(f"coordinator: {address} brought no processes together: {error}.") from None
        started_devices()
        console.quiet = not is_first()

    @property
    def address(self) -> str | None:
        """Where the processes meet, if there are others."""
        return (os.environ.get(ADDRESS_VARIABLE) or None) if self.coordinator is None else self.coordinator

    def problems(self) -> list[str]:
        """What is wrong with the options, or the variables in their place."""
        given = [name for name, text in self._place() if text]
        if self.address is None:
            return [f"{name}: it needs coordinator, where the processes meet." for name in given]
        if self.address == AUTO:
            return [f"{name}: with coordinator {AUTO}, each process is told its place." for name in given]
        return [*ADDRESS.problems("coordinator", self.address), *self._place_problems()]

    def _place(self) -> list[tuple[str, str]]:
        """How many processes there are and which this is: each as a field and what is typed."""
        return [
            (name, os.environ.get(f"JAX_{name.upper()}", "") if value is None else str(value))
            for name, value in (("num_processes", self.num_processes), ("process_id", self.process_id))
        ]

    def _place_problems(self) -> list[str]:
        unknown = [
            f"{name}: needed beside coordinator, as an option or as JAX_{name.upper()}, got {text!r}."
            for name, text in self._place()
            if not text.removeprefix("-").isdecimal()
        ]
        if unknown:
            return unknown
        count, process = (int(text) for _, text in self._place())
        place = Check(f"in [0, {count})", lambda value: 0 <= value < count)
        return value_problems("num_processes", count, Count) or place.problems("process_id", process)


def free_address() -> str:
    """HOST:PORT on this machine where processes can meet: the port is free at the moment."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


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


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16
