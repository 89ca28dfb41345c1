"""The record of a jobs folder: an SQLite file of events, which many processes append to, one at a time.

An event is never changed. A transaction waits for its turn, reads and verifies all events, and appends its
own as one chunk of the chain, or none. Imports no JAX.
"""

import contextlib
import hashlib
import json
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import groupby, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from experiments.study.options.errors import StudyError
from experiments.study.storage.chain import START, Link, next_link
from experiments.study.storage.database import (
    Layout,
    check_header,
    damaged,
    explained_errors,
    set_durable,
)

WAIT = 600.0  # seconds for others' transactions: one may compute what many are going to run
RECORD = Layout(
    noun="record",
    owner="a jobs folder",
    application_id=0x57EE9E58,
    format=1,
    tables=(
        "CREATE TABLE chunks (number INTEGER PRIMARY KEY, digest TEXT NOT NULL) STRICT",
        "CREATE TABLE events ("
        " number INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL, chunk INTEGER NOT NULL"
        ") STRICT",
        # float32 arrays by the SHA-256 of their bytes, which events hold
        "CREATE TABLE arrays (digest TEXT PRIMARY KEY, content BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ),
)
# of the threads of a process: the system lets go of all its locks on a file where one of them closes it
_TURN = threading.Lock()
TRY_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0)
try:
    connection.execute("BEGIN IMMEDIATE")
except sqlite3.OperationalError:
    print("locked")
"""


class Event(NamedTuple):
    """Something that happened: its kind, and any JSON object."""

    kind: str
    content: dict[str, Any]


class Transaction:
    """All events so far, and those that are appended when it ends well."""

    def __init__(self, path: Path, cursor: sqlite3.Cursor):
        self._path, self._cursor = path, cursor
        self._recorded, self._last = _verified(path, cursor)
        self._appended: list[Event] = []

    @property
    def events(self) -> list[Event]:
        """In the order in which they happened, those appended among them."""
        return [*self._recorded, *self._appended]

    def append(self, kind: str, **content: Any) -> None:
        self._appended.append(Event(kind, json.loads(json.dumps(content))))

    def keep(self, content: bytes) -> str:
        """The digest under which the bytes of an array are kept from now on."""
        digest = hashlib.sha256(content).hexdigest()
        self._cursor.execute("INSERT OR IGNORE INTO arrays VALUES (?, ?)", (digest, content))
        return digest

    def array(self, digest: str) -> bytes:
        """The bytes that were kept. Raises StudyError where they are not what they were."""
        row = self._cursor.execute("SELECT content FROM arrays WHERE digest = ?", (digest,)).fetchone()
        if row is None or hashlib.sha256(row[0]).hexdigest() != digest:
            raise damaged(self._path, f"the array {digest[:8]} is not as it was recorded")
        return row[0]

    def commit(self) -> None:
        if not self._appended:
            return
        numbered = [
            (number, event.kind, json.dumps(event.content))
            for number, event in enumerate(self._appended, len(self._recorded) + 1)
        ]
        link = next_link(self._last, [("events", row) for row in numbered])
        self._cursor.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?)", [(*row, link.number) for row in numbered]
        )
        self._cursor.execute("INSERT INTO chunks VALUES (?, ?)", link)
        self._cursor.execute("COMMIT")


@contextlib.contextmanager
def transaction(path: Path, write: bool = True) -> Iterator[Transaction]:
    """Read all events and append others, with no other process in between; nothing is appended where the
    context ends with an exception.

    Args:
      write: False where events are only read.

    Raises StudyError where the file is damaged, not a record of this project, cannot be written to, or others
    keep it busy for ten minutes.
    """
    with _TURN, explained_errors(path):
        check_header(path, RECORD)
        with (
            contextlib.closing(sqlite3.connect(path, timeout=WAIT, isolation_level=None)) as connection,
            # the only one: a half-read cursor, which a traceback may hold for long, would keep the lock
            contextlib.closing(connection.cursor()) as cursor,
        ):
            set_durable(connection)
            try:
                cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                if not RECORD.is_that_of(cursor):
                    raise damaged(path, "its tables are not those of a record")
                opened = Transaction(path, cursor)
                yield opened
                opened.commit()
            finally:
                if connection.in_transaction:
                    cursor.execute("ROLLBACK")


def new_record(kind: str, **content: Any) -> bytes:
    """The bytes of a record whose first event this is."""
    with contextlib.closing(RECORD.in_memory()) as connection:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("BEGIN")
        created = Transaction(Path(), cursor)
        created.append(kind, **content)
        created.commit()
        return connection.serialize()


def check_locks(path: Path) -> None:
    """Raise StudyError where the disk of a record does not keep a second process out."""
    with (
        explained_errors(path),
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN IMMEDIATE")
        command = [sys.executable, "-IS", "-c", TRY_LOCK, str(path)]
        answer = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        connection.execute("ROLLBACK")
    if answer != "locked":
        raise StudyError(
            f"{path.parent} is on a disk whose locks do not work: two processes could write at once."
            " Choose a folder on another disk."
        )


def _verified(path: Path, cursor: sqlite3.Cursor) -> tuple[list[Event], Link]:
    """All events, and where the chain goes on."""
    rows = cursor.execute("SELECT chunk, number, kind, content FROM events ORDER BY number").fetchall()
    chunks = cursor.execute("SELECT number, digest FROM chunks ORDER BY number")
    link = START
    for stored, group in zip_longest(chunks, groupby(rows, key=itemgetter(0))):
        link = next_link(link, [("events", row[1:]) for row in group[1]] if group else ())
        if link != stored:
            raise damaged(path, f"chunk {link.number} does not hold what was recorded")
    return [Event(kind, json.loads(content)) for _, _, kind, content in rows], link
