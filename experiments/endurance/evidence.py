"""What a study's folder holds, to compare two of them bit for bit.

Journals are read with sqlite3 alone and from copies: nothing passes through the code under test, and looking
at what a kill left behind changes nothing.
"""

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

JOURNAL, WINNERS = "journal.sqlite", "winners.json"
KEYS = {"trials": ("stage", "group", "number", "label", "replicate"), "events": ("number",)}
DECIDED_ELSEWHERE = ("seconds", "chunk")  # by the clock, and by how many runs were computed together
TIMED_EVENTS = ("timings", "winners")  # of which the latter is compared as winners.json

Place = tuple[Any, ...]  # journal, table, key
Columns = Mapping[str, Any]  # by name, numbers to the last bit


def journals(folder: Path) -> list[Path]:
    """All journals of a study: a study of several searches has several."""
    return sorted(folder.rglob(JOURNAL))


def recorded(folder: Path) -> dict[Place, Columns]:
    """All rows of all journals of a study."""
    return {
        (str(journal.relative_to(folder)), *key): columns
        for journal in journals(folder)
        for key, columns in _rows(journal)
    }


def run_count(rows: Mapping[Place, Columns]) -> int:
    """How many of the rows are runs."""
    return sum(table == "trials" for _, table, *_ in rows)


def untimed(rows: Mapping[Place, Columns]) -> dict[Place, Columns]:
    """Rows without what the clock and the number of devices decide."""
    return {
        place: {name: value for name, value in columns.items() if name not in DECIDED_ELSEWHERE}
        for place, columns in rows.items()
        if columns.get("kind") not in TIMED_EVENTS
    }


def lost_rows(kept: Mapping[Place, Columns], found: Mapping[Place, Columns]) -> int:
    """How many of the rows kept earlier are not found as they were: gone, or run again."""
    return sum(found.get(place) != columns for place, columns in kept.items())


def winners(folder: Path, timed_fields: Collection[str]) -> dict[str, str]:
    """The text of every winners.json of a study, by its place, without the fields that were timed."""
    return {
        str(path.relative_to(folder)): json.dumps(_without(json.loads(path.read_text()), timed_fields))
        for path in sorted(folder.rglob(WINNERS))
    }


def _rows(journal: Path) -> Iterator[tuple[Place, Columns]]:
    with tempfile.TemporaryDirectory() as copy:
        for file in journal.parent.glob(f"{JOURNAL}*"):  # with the transaction that a kill cut short
            shutil.copy(file, copy)
        with contextlib.closing(sqlite3.connect(Path(copy, JOURNAL))) as connection:
            connection.row_factory = sqlite3.Row
            for table, key in KEYS.items():
                for row in connection.execute(f"SELECT * FROM {table}"):
                    columns = {name: _exact(row[name]) for name in row.keys()}  # noqa: SIM118
                    yield (table, *(columns.pop(name) for name in key)), columns


def _exact(value: Any) -> Any:
    return value.hex() if isinstance(value, float) else value


def _without(content: Any, fields: Collection[str]) -> Any:
    if isinstance(content, dict):
        return {name: _without(value, fields) for name, value in content.items() if name not in fields}
    return [_without(value, fields) for value in content] if isinstance(content, list) else content
