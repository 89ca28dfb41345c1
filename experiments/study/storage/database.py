"""What all SQLite files of this project have in common: their header, how they are opened, what errors mean.

Imports no JAX, for what runs beside many workers.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.study.options.errors import StudyError

PAGE_SIZE = 4096
PAGES = PAGE_SIZE.to_bytes(2, "big") + b"\1\1"  # in the header: the pages' size, and no write-ahead log
UNSOUND = "its pages do not make a sound database"
OBSTACLES = (  # what keeps a sound file from being used
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


class Layout(NamedTuple):
    """Of which kind a file is.

    Attributes:
      noun, owner: how messages call it, such as "journal" of "a study".
      application_id: marks an SQLite file as one of this kind.
      format: the number of its version.
      tables: the statements that create them.
    """

    noun: str
    owner: str
    application_id: int
    format: int
    tables: tuple[str, ...]

    def in_memory(self) -> sqlite3.Connection:
        """An empty database of this kind."""
        connection = sqlite3.connect(":memory:")
        settings = (
            f"PRAGMA application_id = {self.application_id}",
            f"PRAGMA user_version = {self.format}",
            f"PRAGMA page_size = {PAGE_SIZE}",
            "PRAGMA auto_vacuum = NONE",
        )
        connection.executescript(";\n".join((*settings, *self.tables)))
        return connection

    def is_that_of(self, cursor: sqlite3.Cursor) -> bool:
        """Whether a database has the tables of this kind."""
        tables = cursor.execute("SELECT sql FROM sqlite_master ORDER BY rootpage").fetchall()
        return tables == [(table,) for table in self.tables]


def check_header(path: Path, layout: Layout) -> None:
    """Refuse what SQLite must not touch: its first look at a file may change it."""
    if not path.is_file():  # a pipe would be waited for
        raise StudyError(f"{path} is no file.")
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100:
        raise damaged(path, f"{len(header)} bytes are too few")
    if not header.startswith(b"SQLite format 3\0"):
        raise damaged(path, f"it does not begin as a {layout.noun} does")
    version, application_id = (int.from_bytes(header[start : start + 4], "big") for start in (60, 68))
    if application_id != layout.application_id:
        raise StudyError(
            f"{path} is an SQLite database of another program, not {layout.owner}'s {layout.noun}."
        )
    if version != layout.format:
        raise StudyError(
            f"{path} has {layout.noun} format {version}:"
            f" {'an earlier' if version < layout.format else 'a later'} version wrote it, and still reads it;"
            f" this one reads format {layout.format}."
        )
    if header[16:20] != PAGES:
        raise damaged(path, f"its header is not that of a {layout.noun}")


def set_durable(connection: sqlite3.Connection) -> None:
    """Let what is committed outlive a kill and a power cut."""
    # all of a committed chunk is in the one file; a log beside it would need shared memory, which
    # network file systems lack, and would take committed chunks along when it is damaged
    connection.execute("PRAGMA journal_mode = DELETE").fetchall()  # half read, it would keep a lock
    connection.execute("PRAGMA synchronous = EXTRA")  # a recorded chunk outlives a power cut


def hot_journal(path: Path) -> Path:
    """What SQLite keeps beside a file during a transaction."""
    return path.with_name(f"{path.name}-journal")


def damaged(path: Path, reason: str) -> StudyError:
    return StudyError(
        f"{path} is truncated or damaged ({reason}): put a copy in its place,"
        " or move it away to start the study anew."
    )


@contextlib.contextmanager
def explained_errors(path: Path | None) -> Iterator[None]:
    """Turn what SQLite and the disk, if there is a `path` on it, report into a StudyError."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # the caller's own mistakes
    except (sqlite3.DatabaseError, UnicodeDecodeError, OSError) as error:  # noise is not always text
        if not (isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in OBSTACLES):
            raise damaged(path, UNSOUND) from None
        moved = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_DBMOVED
        if path and (moved or not path.exists()):
            raise StudyError(
                f"{path} was deleted or moved while it was in use: unless it is put back, what was recorded"
                " is lost, and the same command starts anew."
            ) from None
        raise StudyError(
            f"{path} cannot be read or written: {error}. Everything recorded before is kept;"
            " once that is mended, the same command resumes."
        ) from None
