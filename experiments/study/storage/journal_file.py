"""The database under a journal: created in full or not at all, and opened only where it is sound."""

import contextlib
import sqlite3
from pathlib import Path

from experiments.study.storage.chain import first_broken
from experiments.study.storage.database import (
    PAGE_SIZE,
    UNSOUND,
    Layout,
    check_header,
    damaged,
    explained_errors,
    hot_journal,
    set_durable,
)
from experiments.study.storage.folder import write_atomically
from experiments.study.storage.seal import is_sealed, remove_seal, seal_holds

JOURNAL = Layout(
    noun="journal",
    owner="a study",
    application_id=0x57EE9E57,
    format=5,
    tables=(
        "CREATE TABLE chunks (number INTEGER PRIMARY KEY, digest TEXT NOT NULL) STRICT",
        "CREATE TABLE trials ("
        ' stage TEXT, "group" TEXT, number INTEGER, label TEXT, replicate INTEGER,'
        " base_lr REAL NOT NULL,"
        " params TEXT NOT NULL,"
        " status TEXT NOT NULL CHECK (status IN ('finished', 'diverged')),"
        " score REAL NOT NULL,"
        " metrics TEXT NOT NULL,"
        " seconds REAL NOT NULL,"
        " chunk INTEGER NOT NULL,"
        ' PRIMARY KEY (stage, "group", number, label, replicate)'
        ") STRICT, WITHOUT ROWID",
        "CREATE TABLE events ("
        " number INTEGER PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL, chunk INTEGER NOT NULL"
        ") STRICT",
    ),
)


def create(path: Path) -> None:
    """Write an empty journal. What a journal that was moved away left beside it, such as its seal or the
    transaction that a kill cut short, must not be taken for the new one's."""
    with explained_errors(path), contextlib.closing(JOURNAL.in_memory()) as connection:
        remove_seal(path)
        hot_journal(path).unlink(missing_ok=True)
        write_atomically(path, connection.serialize())


def open_file(path: Path) -> sqlite3.Connection:
    """Open a journal and verify all of it; a transaction that a kill cut short is rolled back.

    Raises StudyError where the file is truncated, damaged or not a journal of this project.
    """
    with contextlib.ExitStack() as on_failure, explained_errors(path):
        check_header(path, JOURNAL)
        if is_sealed(path) and (hot_journal(path).exists() or not seal_holds(path)):
            raise damaged(path, "it is not the file that was sealed")
        connection = sqlite3.connect(path)
        on_failure.callback(connection.close)
        set_durable(connection)
        problem = _problem(path, connection)
        if problem:
            raise damaged(path, problem)
        on_failure.pop_all()
        return connection


def open_copy(content: bytes) -> sqlite3.Connection:
    """A database in memory that begins as `content`, that of another connection."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    return connection


def _problem(path: Path, connection: sqlite3.Connection) -> str | None:
    """What is wrong with a database, whose transactions are complete once it has been read from."""
    tables = JOURNAL.is_that_of(connection.cursor())
    if path.stat().st_size % PAGE_SIZE:  # SQLite itself fills up a last page that was cut short
        return "its last page is cut short"
    if not tables:
        return "its tables are not those of a journal"
    # not the quick check: it does not see that rows are out of order, and then they are not found
    if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        return UNSOUND
    broken = first_broken(connection)
    return None if broken is None else f"chunk {broken} does not hold what was recorded"
