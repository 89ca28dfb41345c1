"""The lock of a study's folder: one process at a time."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from experiments.study.options.errors import StudyError

LOCK = ".lock"  # in the study's folder; what a killed process left of it holds nobody up


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a study's folder, which is made where there is none.

    The operating system lets go of the lock when the process ends, however it ends.

    Raises StudyError where another process holds it, named by its number, host and start, or where the folder
    cannot be written to.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = _acquired(path)
        _write_owner(file)
    except OSError as error:
        raise StudyError(f"{folder} cannot be written to: {error.strerror or error}.") from None
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # before letting go: after it, the file may be another's


def _acquired(path: Path) -> TextIO:
    while True:
        file = path.open("a+", encoding="utf-8")  # not "w": until it is locked, the content is another's
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                raise StudyError(_in_use(file, path.parent)) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()  # its owner removed it between the opening and the locking


def _write_owner(file: TextIO) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.truncate(0)
    json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since}, file)
    file.flush()


def _in_use(file: TextIO, folder: Path) -> str:
    file.seek(0)
    try:
        owner = json.load(file)
        return f"{folder} is in use by process {owner['pid']} on {owner['host']} (since {owner['since']})."
    except (ValueError, TypeError, KeyError, RecursionError):  # it is about to say who it is
        return f"{folder} is in use by another process."
