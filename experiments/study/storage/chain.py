"""The chain of a journal's chunks, by which a run or an event that was changed, lost or added is found.

The digest of a chunk covers what it holds and, through the digest before it, all earlier chunks.
"""

import contextlib
import hashlib
import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import NamedTuple

# a table and the columns of a row of it; in a chunk trials come by identity, then events by number
Entry = tuple[str, tuple]

CONTENT = {
    "trials": ('stage, "group", number, label, replicate, base_lr, params, status, score, metrics, seconds'),
    "events": "number, kind, content",
}


class Link(NamedTuple):
    """A chunk's number, counted from one, and its digest in hexadecimal."""

    number: int
    digest: str


START = Link(0, "")


def next_link(link: Link, entries: Iterable[Entry]) -> Link:
    """The link of a chunk of `entries` that follows `link`.

    >>> first = next_link(START, [("events", (1, "began", "{}"))])
    >>> first.number, first.digest[:8]
    (1, 'c0f306c8')
    """
    content = json.dumps([link, *entries], separators=(",", ":"))
    return Link(link.number + 1, hashlib.sha256(content.encode()).hexdigest())


def last_link(connection: sqlite3.Connection) -> Link:
    """Where the next chunk goes on."""
    last = connection.execute("SELECT number, digest FROM chunks ORDER BY number DESC LIMIT 1").fetchone()
    return Link(*last) if last else START


def first_broken(connection: sqlite3.Connection) -> int | None:
    """The number of the first chunk that does not hold what was recorded; None where all do."""
    link = START
    with contextlib.ExitStack() as opened:  # what is not read to its end would keep the file locked

        def read(query: str) -> sqlite3.Cursor:
            return opened.enter_context(contextlib.closing(connection.execute(query)))

        chunks = read("SELECT number, digest FROM chunks ORDER BY number")
        tables = [
            read(f"SELECT '{table}', chunk, {columns} FROM {table} ORDER BY chunk, {columns}")
            for table, columns in CONTENT.items()
        ]
        for stored, entries in zip_longest(chunks, _entries_by_chunk(tables)):
            link = next_link(link, entries or ())
            if link != stored:
                return link.number
    return None


def _entries_by_chunk(tables: Iterable[Iterable[tuple]]) -> Iterator[list[Entry]]:
    rows = heapq.merge(*tables, key=itemgetter(1))  # trials first, where the chunk is the same
    for _, chunk in groupby(rows, key=itemgetter(1)):
        yield [(table, columns) for table, _, *columns in chunk]
