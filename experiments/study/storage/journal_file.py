"""The database under a journal: created in full or not at all, and opened only where it is sound."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from experiments.study.options.errors import StudyError
from experiments.study.storage.chain import first_broken
from experiments.study.storage.folder import write_atomically
from experiments.study.storage.seal import is_sealed, remove_seal, seal_holds

APPLICATION_ID = 0x57EE9E57  # marks an SQLite file as a journal of this project
FORMAT = 5
PAGE_SIZE = 4096
LAYOUT = PAGE_SIZE.to_bytes(2, "big") + b"\1\1"  # in the header: the pages' size, and no write-ahead log
TABLES = (
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
)
SETTINGS = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT}",
    f"PRAGMA page_size = {PAGE_SIZE}",
    "PRAGMA auto_vacuum = NONE",
)
UNSOUND = "its pages do not make a sound database"
OBSTACLES = (  # what keeps a sound file from being used
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


def create(path: Path) -> None:
    """Write an empty journal. What a journal that was moved away left beside it, such as its seal or the
    transaction that a kill cut short, must not be taken for the new one's."""
    with explained_errors(path), contextlib.closing(sqlite3.connect(":memory:")) as connection:
        remove_seal(path)
        _hot_journal(path).unlink(missing_ok=True)
        connection.executescript(";\n".join((*SETTINGS, *TABLES)))
        write_atomically(path, connection.serialize())


def open_file(path: Path) -> sqlite3.Connection:
    """Open a journal and verify all of it; a transaction that a kill cut short is rolled back.

    Raises StudyError where the file is truncated, damaged or not a journal of this project.
    """
    with contextlib.ExitStack() as on_failure, explained_errors(path):
        _check_header(path)
        if is_sealed(path) and (_hot_journal(path).exists() or not seal_holds(path)):
            raise _damaged(path, "it is not the file that was sealed")
        connection = sqlite3.connect(path)
        on_failure.callback(connection.close)
        # all of a committed chunk is in the one file; a log beside it would need shared memory, which
        # network file systems lack, and would take committed chunks along when it is damaged
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")  # a recorded chunk outlives a power cut
        problem = _problem(path, connection)
        if problem:
            raise _damaged(path, problem)
        on_failure.pop_all()
        return connection


def open_copy(content: bytes) -> sqlite3.Connection:
    """A database in memory that begins as `content`, that of another connection."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(content)
    return connection


@contextlib.contextmanager
def explained_errors(path: Path | None) -> Iterator[None]:
    """Turn what SQLite and the disk, if there is a `path` on it, report into a StudyError."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # the caller's own mistakes
    except (sqlite3.DatabaseError, UnicodeDecodeError, OSError) as error:  # noise is not always text
        if not (isinstance(error, OSError) or getattr(error, "sqlite_errorcode", 0) & 0xFF in OBSTACLES):
            raise _damaged(path, UNSOUND) from None
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


def _check_header(path: Path) -> None:
    """Refuse what SQLite must not touch: its first look at a file may change it."""
    if not path.is_file():  # a pipe would be waited for
        raise StudyError(f"{path} is no file.")
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100:
        raise _damaged(path, f"{len(header)} bytes are too few")
    if not header.startswith(b"SQLite format 3\0"):
        raise _damaged(path, "it does not begin as a journal does")
    version, application_id = (int.from_bytes(header[start : start + 4], "big") for start in (60, 68))
    if application_id != APPLICATION_ID:
        raise StudyError(f"{path} is an SQLite database of another program, not a study's journal.")
    if version != FORMAT:
        raise StudyError(
            f"{path} has journal format {version}: {'an earlier' if version < FORMAT else 'a later'} version"
            f" wrote it, and still reads it; this one reads format {FORMAT}."
        )
    if header[16:20] != LAYOUT:
        raise _damaged(path, "its header is not that of a journal")


def _problem(path: Path, connection: sqlite3.Connection) -> str | None:
    """What is wrong with a database, whose transactions are complete once it has been read from."""
    tables = connection.execute("SELECT sql FROM sqlite_master ORDER BY rootpage").fetchall()
    if path.stat().st_size % PAGE_SIZE:  # SQLite itself fills up a last page that was cut short
        return "its last page is cut short"
    if tables != [(table,) for table in TABLES]:
        return "its tables are not those of a journal"
    # not the quick check: it does not see that rows are out of order, and then they are not found
    if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
        return UNSOUND
    broken = first_broken(connection)
    return None if broken is None else f"chunk {broken} does not hold what was recorded"


def _hot_journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _damaged(path: Path, reason: str) -> StudyError:
    return StudyError(
        f"{path} is truncated or damaged ({reason}): put a copy in its place,"
        " or move it away to start the study anew."
    )
