"""A small jobs folder: its search, what its toy trials score, and what its record holds, to compare."""

import contextlib
import json
import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.jobs.config import JobsConfig

# the least that there is: what it asks for depends on no order in which results come
SEARCH = JobsConfig(num_steps=20, learning_rates=(0.01, 1.0), families=("linear",), runs=24)
RECORD, TRIALS = "jobs.sqlite", "trials"  # in its folder
LEFT_OUT = ("time", "worker")  # who came when


class Recorded(NamedTuple):
    """An event: its kind, and its content as JSON without who came when."""

    kind: str
    content: str


def score(learning_rates: Sequence[float]) -> float:
    """Best at a peak rate of 0.2 that has come down at the end."""
    return math.log(max(learning_rates) / 0.2) ** 2 + learning_rates[-1]


def events_of(folder: Path) -> list[Recorded]:
    """All events of a jobs folder in their order, read with sqlite3 alone."""
    with contextlib.closing(sqlite3.connect(folder / RECORD, timeout=60)) as connection:
        rows = connection.execute("SELECT kind, content FROM events ORDER BY number").fetchall()
    return [Recorded(kind, _of_any_time(content)) for kind, content in rows]


def trial_files(folder: Path) -> dict[str, str]:
    """The text of every trial's file, by its name."""
    return {path.name: path.read_text() for path in (folder / TRIALS).glob("*.json")}


def _of_any_time(content: str) -> str:
    facts = json.loads(content)
    return json.dumps({name: value for name, value in facts.items() if name not in LEFT_OUT})
