"""The journal of a study: every finished run is a row of an SQLite database, a chunk one transaction."""

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from experiments.study.choices import StudyError

APPLICATION_ID = 0x57EE9E57  # marks an SQLite file as a journal of this project
FORMAT = 2

SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE trials (
    stage TEXT, family TEXT, candidate INTEGER, variant INTEGER, replicate INTEGER,
    base_lr REAL NOT NULL,
    params TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('finished', 'diverged')),
    score REAL NOT NULL,
    metrics TEXT NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (stage, family, candidate, variant, replicate)
) WITHOUT ROWID;
"""

# stage, group, candidate, what else tells its runs apart (their steps, the place of a rate), replicate
Identity = tuple[str, str, int, int, int]


class Row(NamedTuple):
    """A finished run: which trial it was and what came of it; a run that diverged scores +inf."""

    identity: Identity
    base_lr: float
    params: Mapping[str, float]
    score: float
    metrics: Mapping[str, float]
    seconds: float

    @property
    def status(self) -> str:
        return "diverged" if math.isinf(self.score) else "finished"


class Journal:
    """An open journal. Close it, or use it as a context manager."""

    def __init__(self, path: Path):
        """Open the journal at `path`, or create an empty one.

        Raises StudyError when the file is truncated, damaged or not a journal of this project.
        """
        if not path.exists():
            _create(path)
        self._connection = _open(path)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *exception) -> None:
        self._connection.close()

    def record(self, rows: Iterable[Row]) -> None:
        """Add rows, all of them or none."""
        values = [
            (
                *row.identity,
                row.base_lr,
                json.dumps(dict(row.params)),
                row.status,
                row.score,
                json.dumps({name: _number_or_none(value) for name, value in row.metrics.items()}),
                row.seconds,
            )
            for row in rows
        ]
        with self._connection:
            self._connection.executemany("INSERT INTO trials VALUES (?,?,?,?,?,?,?,?,?,?,?)", values)

    def scores(self, *stages: str) -> dict[Identity, float]:
        """The score of every run of some stages so far, of all when none is named."""
        query = "SELECT stage, family, candidate, variant, replicate, score FROM trials"
        if stages:  # the primary key begins with them: what else the journal holds takes no time
            query += f" WHERE stage IN ({', '.join('?' * len(stages))})"
        return {tuple(identity): score for *identity, score in self._connection.execute(query, stages)}

    def rows(self, stage: str) -> list[Row]:
        """The runs of a stage, by family, candidate, variant and replicate."""
        query = (
            "SELECT stage, family, candidate, variant, replicate, base_lr, params, score, metrics, seconds"
            " FROM trials WHERE stage = ? ORDER BY family, candidate, variant, replicate"
        )
        return [
            Row(tuple(identity), base_lr, json.loads(params), score, _metrics(metrics), seconds)
            for *identity, base_lr, params, score, metrics, seconds in self._connection.execute(
                query, (stage,)
            )
        ]

    def metrics(self, stage: str) -> dict[Identity, dict[str, float]]:
        """All metrics of every run of a stage; NaN where a run has no finite value."""
        return {row.identity: dict(row.metrics) for row in self.rows(stage)}

    def counts(self) -> dict[str, int]:
        """The number of runs by status."""
        return dict(self._connection.execute("SELECT status, COUNT(*) FROM trials GROUP BY status"))

    def seconds(self) -> float:
        """How long all runs took together, by the clock of the chunks they ran in."""
        return self._connection.execute("SELECT TOTAL(seconds) FROM trials").fetchone()[0]


def _create(path: Path) -> None:
    """An empty journal under another name first: killed half-way, no half journal is left at `path`."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    connection = sqlite3.connect(partial)
    connection.executescript(SCHEMA)
    connection.close()
    partial.replace(path)


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file() or not _has_whole_pages(path):
        raise StudyError(_damaged(path))
    connection = sqlite3.connect(path)
    try:
        problem = _problem(path, connection)
        if problem is None:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a recorded chunk outlives a power cut
    except sqlite3.DatabaseError as error:
        foreign = "not a database" in str(error)
        problem = f"{path} is not a journal: {error}." if foreign else f"{_damaged(path)} ({error})"
    if problem:
        connection.close()
        raise StudyError(problem)
    return connection


def _problem(path: Path, connection: sqlite3.Connection) -> str | None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        return f"{path} is an SQLite database of another program, not a study's journal."
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT:
        return f"{path} has journal format {version}; this version reads format {FORMAT}."
    if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
        return _damaged(path)
    return None


def _damaged(path: Path) -> str:
    return f"{path} is truncated or damaged: move it away to start the study anew."


def _has_whole_pages(path: Path) -> bool:
    """Whether the file's length is a positive multiple of the page size in its header.

    SQLite itself fills up a last page that was cut short.
    """
    with path.open("rb") as file:
        header = file.read(18)
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65_536 if page_size == 1 else page_size  # how SQLite writes this size
    foreign = not header.startswith(b"SQLite format 3\0")  # for SQLite to name
    return bool(header) and (foreign or (page_size > 0 and path.stat().st_size % page_size == 0))


def _metrics(text: str) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in json.loads(text).items()}


def _number_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
