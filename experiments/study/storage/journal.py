"""The journal of a study: every finished run is a row of an SQLite database, a chunk one transaction.

What else must be remembered is an event: what study this is (see `binding`), and what was decided on the way.
"""

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.study.storage.chain import last_link, next_link
from experiments.study.storage.database import explained_errors
from experiments.study.storage.journal_file import create, open_copy, open_file
from experiments.study.storage.seal import is_sealed, remove_seal, set_seal

# stage, group, number (in the order asked), label (JSON: what the trial is), replicate
Identity = tuple[str, str, int, str, int]


class Row(NamedTuple):
    """A finished run: which trial it was and what came of it; a run that diverged scores +inf."""

    identity: Identity
    base_lr: float
    params: Mapping[str, float]
    score: float
    metrics: Mapping[str, float]
    seconds: float

    @property
    def group(self) -> str:
        return self.identity[1]

    @property
    def number(self) -> int:
        return self.identity[2]

    @property
    def label(self) -> Any:
        """What the trial was, as `label` was given it."""
        return json.loads(self.identity[3])

    @property
    def replicate(self) -> int:
        return self.identity[4]

    @property
    def status(self) -> str:
        return "diverged" if math.isinf(self.score) else "finished"


class Tally(NamedTuple):
    """The runs of a study, and how long they took together, by the clock of the chunks they ran in."""

    runs: int
    diverged: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.runs:,} runs, of which {self.diverged:,} diverged, in {self.seconds:.0f} s of training."
        )


class Tried(NamedTuple):
    """What a finished run was tried with, and its score."""

    base_lr: float
    params: Mapping[str, float]
    score: float


def label(**facts: Any) -> str:
    """What a trial is, beside its stage, group and replicate, as a journal keeps it.

    >>> label(decay=0.5, rate=-2)
    '{"decay": 0.5, "rate": -2}'
    """
    return json.dumps(facts)


class Journal:
    """An open journal; use it as a context manager.

    What `record` and `record_event` return from is kept: it outlives a kill and a power cut. Where the
    context ends without an exception, the file is sealed: any change of it after that is found.
    """

    def __init__(self, path: Path):
        """Open the journal at `path`, or create an empty one.

        Raises StudyError when the file is truncated, damaged or not a journal of this project.
        """
        if not path.exists():
            create(path)
        self._start(path, open_file(path))

    @classmethod
    def in_memory(cls, content: bytes) -> "Journal":
        """A copy of the journal that had this `content`; what it records goes to no file."""
        journal = cls.__new__(cls)
        journal._start(None, open_copy(content))
        return journal

    def _start(self, path: Path | None, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection
        self._last = last_link(connection)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_) -> None:
        self._connection.close()
        if self._path is not None and kind is None and not is_sealed(self._path):
            with explained_errors(self._path):
                set_seal(self._path)

    def content(self) -> bytes:
        """The whole database, for `in_memory` in another process."""
        return self._connection.serialize()

    def record(self, rows: Iterable[Row]) -> None:
        """Add rows, all of them or none. Raises StudyError where the file cannot be written to."""
        self._commit("trials", [_columns(row) for row in sorted(rows, key=lambda row: row.identity)])

    def record_event(self, kind: str, content: Any) -> None:
        """Add something else that the study must remember, any JSON. Raises as `record` does."""
        number = self._read("SELECT COUNT(*) FROM events")[0][0] + 1
        self._commit("events", [(number, kind, json.dumps(content))])

    def once(self, kind: str, make: Callable[[], Any]) -> Any:
        """The event of a kind that comes once, any JSON: as it was recorded, or `make()`, recorded now."""
        if not self.events(kind):
            self.record_event(kind, make())
        (content,) = self.events(kind)
        return content

    def events(self, kind: str) -> list[Any]:
        """The content of the events of a kind, in the order in which they were recorded."""
        query = "SELECT content FROM events WHERE kind = ? ORDER BY number"
        return [json.loads(content) for (content,) in self._read(query, (kind,))]

    def scores(self, *stages: str) -> dict[Identity, float]:
        """The score of every run of some stages so far, of all when none is named."""
        query = 'SELECT stage, "group", number, label, replicate, score FROM trials'
        if stages:  # the primary key begins with them: what else the journal holds takes no time
            query += f" WHERE stage IN ({', '.join('?' * len(stages))})"
        return {tuple(identity): score for *identity, score in self._read(query, stages)}

    def tried(self, identities: Iterable[Identity]) -> dict[Identity, Tried]:
        """Those of these runs that are recorded; what else the journal holds takes no time."""
        query = (
            "SELECT base_lr, params, score FROM trials"
            ' WHERE stage = ? AND "group" = ? AND number = ? AND label = ? AND replicate = ?'
        )
        found = ((identity, self._read(query, identity)) for identity in identities)
        return {
            identity: Tried(base_lr, json.loads(params), score)
            for identity, rows in found
            for base_lr, params, score in rows
        }

    def rows(self, stage: str) -> list[Row]:
        """The runs of a stage, by group, number, label and replicate."""
        return self._rows("stage = ?", stage)

    def group(self, stage: str, group: str) -> list[Row]:
        """The same of a group of a stage; what else the journal holds takes no time."""
        return self._rows('stage = ? AND "group" = ?', stage, group)

    def metrics(self, stage: str) -> dict[Identity, dict[str, float]]:
        """All metrics of every run of a stage; NaN where a run has no finite value."""
        return {row.identity: dict(row.metrics) for row in self.rows(stage)}

    def medians(self, stage: str) -> dict[str, dict[str, float]]:
        """By the group that a stage's runs belong to, the median of each metric over them; what is not finite
        counts as the worst."""
        groups: dict[str, list[Mapping[str, float]]] = {}
        for row in self.rows(stage):
            groups.setdefault(row.group, []).append(row.metrics)
        return {
            group: {name: median_or_worse([metrics[name] for metrics in runs]) for name in runs[0]}
            for group, runs in groups.items()
        }

    def final_medians(self, stage: str) -> dict[str, dict[str, float]]:
        """Those of the metrics at the end of the runs; see `curve_metric`."""
        return {
            group: {name: value for name, value in values.items() if "@" not in name}
            for group, values in self.medians(stage).items()
        }

    def tally(self) -> Tally:
        """How many runs there are, and how long they took."""
        counts = self.counts()
        return Tally(sum(counts.values()), counts.get("diverged", 0), self.seconds())

    def counts(self) -> dict[str, int]:
        """The number of runs by status."""
        return dict(self._read("SELECT status, COUNT(*) FROM trials GROUP BY status"))

    def seconds(self) -> float:
        """How long all runs took together, by the clock of the chunks they ran in."""
        return self._read("SELECT TOTAL(seconds) FROM trials")[0][0]

    def _rows(self, condition: str, *values: str) -> list[Row]:
        query = (
            'SELECT stage, "group", number, label, replicate, base_lr, params, score, metrics, seconds'
            f' FROM trials WHERE {condition} ORDER BY "group", number, label, replicate'
        )
        return [
            Row(tuple(identity), base_lr, json.loads(params), score, _metrics(metrics), seconds)
            for *identity, base_lr, params, score, metrics, seconds in self._read(query, values)
        ]

    def _commit(self, table: str, rows: Sequence[tuple]) -> None:
        """Make a chunk of new rows of a table, none where there are none."""
        if not rows:
            return
        link = next_link(self._last, [(table, row) for row in rows])
        places = ", ".join("?" * (len(rows[0]) + 1))
        with explained_errors(self._path), self._connection as connection:
            if self._path is not None:
                remove_seal(self._path)
            connection.executemany(
                f"INSERT INTO {table} VALUES ({places})", [(*row, link.number) for row in rows]
            )
            connection.execute("INSERT INTO chunks VALUES (?, ?)", link)
        self._last = link

    def _read(self, query: str, values: Sequence = ()) -> list[tuple]:
        with explained_errors(self._path):
            return self._connection.execute(query, values).fetchall()


def median_or_worse(values: Sequence[float]) -> float:
    """The median where what is not finite counts as the worst."""
    array = np.asarray(values, np.float64)
    return float(np.median(np.where(np.isfinite(array), array, np.inf)))


def _columns(row: Row) -> tuple:
    return (
        *row.identity,
        _stored(row.base_lr),
        json.dumps(dict(row.params)),
        row.status,
        _stored(row.score),
        json.dumps({name: _number_or_none(value) for name, value in row.metrics.items()}),
        _stored(row.seconds),
    )


def _stored(value: float) -> float:
    """As SQLite gives a number back: it keeps no sign of a zero."""
    return float(value) + 0.0


def _metrics(text: str) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in json.loads(text).items()}


def _number_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
