"""A disk that fails once, at an operation of a jobs folder's command: with an error, or the process dies."""

import contextlib
import errno
import functools
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from experiments.endurance.small_jobs import TRIALS

BEFORE, AFTER = MOMENTS = "before", "after"  # it is done
DEATH = "death of the process"
ERRORS = {  # by kind: what SQLite says, its code, and that of the system where a file is written
    "disk full": ("database or disk is full", sqlite3.SQLITE_FULL, errno.ENOSPC),
    "I/O error": ("disk I/O error", sqlite3.SQLITE_IOERR, errno.EIO),
    "locked": ("database is locked", sqlite3.SQLITE_BUSY, errno.EAGAIN),
}
KINDS = (*ERRORS, DEATH)


class Fault(NamedTuple):
    """Where a disk fails.

    Attributes:
      operation: the number of it in a command, from zero.
      moment: of MOMENTS.
      kind: of KINDS.
    """

    operation: int
    moment: str
    kind: str

    def __str__(self) -> str:
        return f"{self.kind} {self.moment} operation {self.operation}"


class Disk:
    """Counts the operations on an SQLite file and on files of trials while it is mounted.

    Attributes:
      operations: how many were begun.
    """

    def __init__(self, fault: Fault | None = None):
        """`fault`: where it fails; nowhere when None."""
        self.operations = 0
        self._fault = fault

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Within the `with` statement, this process has no other disk."""

        class Cursor(sqlite3.Cursor):
            execute = self._failing(sqlite3.Cursor.execute, _sqlite_error)
            executemany = self._failing(sqlite3.Cursor.executemany, _sqlite_error)

        class Connection(sqlite3.Connection):
            def cursor(self) -> Cursor:  # those of `execute` too
                return super().cursor(Cursor)

        def of_trials(method: Callable) -> Callable:
            failing = self._failing(method, _file_error)
            return lambda path, *rest: (failing if path.parent.name == TRIALS else method)(path, *rest)

        with (
            patch.object(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Connection)),
            patch.object(Path, "write_bytes", of_trials(Path.write_bytes)),
            patch.object(Path, "replace", of_trials(Path.replace)),
        ):
            yield

    def _failing(self, method: Callable, error: Callable[[str], Exception]) -> Callable:
        def call(*arguments: Any) -> Any:
            moment = self._moment()
            if moment == BEFORE:
                self._fail(error)
            result = method(*arguments)
            if moment == AFTER:
                self._fail(error)
            return result

        return call

    def _moment(self) -> str | None:
        """When the operation that begins now is to fail; None where it is not."""
        number, self.operations = self.operations, self.operations + 1
        return self._fault.moment if self._fault and self._fault.operation == number else None

    def _fail(self, error: Callable[[str], Exception]) -> None:
        if self._fault.kind == DEATH:
            os.kill(os.getpid(), signal.SIGKILL)
        raise error(self._fault.kind)


def _sqlite_error(kind: str) -> sqlite3.OperationalError:
    text, code, _ = ERRORS[kind]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def _file_error(kind: str) -> OSError:
    code = ERRORS[kind][-1]
    return OSError(code, os.strerror(code))
