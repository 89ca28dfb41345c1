"""Journals as a test needs them."""

import contextlib
import hashlib
import json
import math
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from experiments.study.storage.journal import Journal, Row


def forget_runs(folder: Path, condition: str, events: str = "FALSE") -> int:
    """Make a study's journal one to which the runs of an SQL condition never came, nor the events of another
    one; returns how many runs they are.

    They cannot be deleted from it: the chain and the seal would tell.
    """
    path = Path(folder) / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        stages = connection.execute("SELECT DISTINCT stage FROM trials").fetchall()
        identity = 'stage, "group", number, label, replicate'
        lost = set(connection.execute(f"SELECT {identity} FROM trials WHERE {condition}"))
        query = f"SELECT kind, content FROM events WHERE NOT ({events}) ORDER BY number"
        remembered = connection.execute(query).fetchall()
    with Journal(path) as journal:
        kept = [row for (stage,) in stages for row in journal.rows(stage) if row.identity not in lost]
    path.unlink()
    with Journal(path) as journal:
        for kind, content in remembered:
            journal.record_event(kind, json.loads(content))
        journal.record(kept)
    return len(lost)


def asked(folder: Path, query: str) -> list[tuple]:
    """The answer of a study's journal."""
    with contextlib.closing(sqlite3.connect(Path(folder) / "journal.sqlite")) as connection:
        return connection.execute(query).fetchall()


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """All runs of a study's journal, a dictionary each, by the names of the columns."""
    with contextlib.closing(sqlite3.connect(Path(folder) / "journal.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        rows = [dict(row) for row in connection.execute("SELECT * FROM trials")]
    return [row | {name: json.loads(row[name]) for name in ("label", "params", "metrics")} for row in rows]


def a_row(replicate, score=1.0, stage="screen", metrics=None):
    """A run of which only the replicate and the score matter."""
    metrics = {"train_loss": score} if metrics is None else metrics
    return Row((stage, "rex", 0, "{}", replicate), 0.1, {"beta": 1 / 3}, score, metrics, 0.25)


def chunk(number, size=8):
    """The rows of chunk `number`, from zero, of a journal of such chunks; some of them diverged."""
    runs = range(size * number, size * (number + 1))
    return [a_row(run, math.inf if run % 7 == 3 else 1 / (run + 3)) for run in runs]


def everything(journal):
    """All that a journal of `a_row`s and of the event "note" gives back."""
    stages = ("screen", "confirm")
    return (
        [journal.rows(stage) for stage in stages],
        [journal.scores(stage) for stage in stages],
        journal.events("note"),
        journal.counts(),
        journal.seconds(),
    )


def is_sealed(path):
    """Whether the seal beside a journal is that of its bytes, in the format of `sha256sum`."""
    seal = path.with_name(f"{path.name}.sha256")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return seal.exists() and seal.read_text() == f"{digest}  {path.name}\n"


def cut_short(path, folder):
    """Copy to `beside` what a kill leaves in the middle of a transaction that changes every row: the file,
    half written, and the transaction's journal, from which SQLite rolls it back. Both have `path`'s name."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cache_size = 1")  # pages are written before the end of the transaction
        connection.execute("UPDATE trials SET score = score + 1, base_lr = 0.2")
        folder.mkdir()
        for name in (path.name, f"{path.name}-journal"):
            shutil.copy(path.with_name(name), folder / name)
        connection.rollback()
    return folder / path.name
