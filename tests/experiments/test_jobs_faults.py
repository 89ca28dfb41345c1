"""Kills while a jobs folder is written to: nothing told is lost, and nothing is asked for twice at once."""

import contextlib
import itertools
import json
import random
import sqlite3
import time
from collections import Counter

import numpy as np
import pytest

from experiments.endurance.failing_disk import DEATH, MOMENTS, Disk, Fault
from experiments.jobs import folder, open_jobs, store
from experiments.jobs.creating import create_jobs
from experiments.jobs.store import transaction
from experiments.study.options.errors import StudyError
from experiments.study.storage import journal_file
from tests.experiments.processes import started
from tests.experiments.test_jobs import config

COUNT = 24  # trials that are proposed
KILLS = 8
WORK = """
import sys
from experiments.jobs import open_jobs

jobs, worker = open_jobs(sys.argv[1]), sys.argv[2]
sys.stdout = open(sys.argv[3], "a")
while jobs.status().open or any(trial.worker == worker for trial in jobs.status().pending):
    trial = jobs.ask(worker)
    print("asked", trial.id, flush=True)
    jobs.tell(trial.id, float(trial.id.partition("-")[2]))
    print("told", trial.id, flush=True)
"""


class Killed(BaseException):
    """Ends a command at some point of it, as a kill would."""


def propose(jobs, count=COUNT):
    """Trials to be given out, made without any search."""
    token = jobs.status().token
    with transaction(jobs.record) as opened:
        digest = opened.keep(np.linspace(1, 0, 20, dtype=np.float32).tobytes())
        facts = {"stage": "screen", "family": "linear", "params": {"warmup": 0.1}, "base_lr": 0.5}
        numbered = [{"id": f"{token}-{n:04d}", "number": n - 1} for n in range(1, count + 1)]
        trials = [{**facts, **names, "replicate": 0, "seed": 1, "multipliers": digest} for names in numbered]
        opened.append("proposed", time=0.0, trials=trials)
    return jobs


@pytest.fixture
def jobs(tmp_path):
    return propose(create_jobs(tmp_path / "jobs", config(runs=40)))


def recorded(jobs):
    """All events without the clock, past the code under test."""
    with contextlib.closing(sqlite3.connect(jobs.record)) as connection:
        rows = connection.execute("SELECT kind, content FROM events ORDER BY number").fetchall()
    events = [(kind, json.loads(content)) for kind, content in rows]
    return [
        (kind, {name: value for name, value in facts.items() if name != "time"}) for kind, facts in events
    ]


def commands(token):
    """A worker's life, each command as a call that may be repeated."""
    names = [f"{token}-{number:04d}" for number in range(1, 5)]
    return [
        lambda jobs: jobs.ask_several(2, "a"),
        lambda jobs: jobs.tell(names[0], 0.9, step=5),
        lambda jobs: jobs.tell(names[0], 0.5, sem=0.1, metrics={"other": 1.0}),
        lambda jobs: jobs.tell(names[1], failed=True),
        lambda jobs: jobs.ask_several(1, "b"),
        lambda jobs: jobs.tell(names[1], diverged=True),
        lambda jobs: jobs.tell(names[0], 0.6, replace=True),
    ]


class KillingDisk(Disk):
    """A disk at one of whose operations the command is killed, and this process lives on."""

    def _fail(self, error):
        raise Killed


def test_killed_at_any_operation_and_repeated_the_record_is_the_same(tmp_path, monkeypatch, jobs):
    blank, token = jobs.record.read_bytes(), jobs.status().token
    monkeypatch.setattr(store, "WAIT", 5.0)  # for locks that are never let go
    sound = Disk()
    with sound.mounted():
        for command in commands(token):
            command(jobs)
    expected = recorded(jobs)
    files = {path.name: path.read_bytes() for path in (jobs.path / "trials").glob("*.json")}
    assert sound.operations > 40
    for fatal, moment in itertools.product(range(sound.operations), MOMENTS):
        jobs.record.write_bytes(blank)
        jobs.record.with_name(f"{jobs.record.name}-journal").unlink(missing_ok=True)
        kills = []
        with KillingDisk(Fault(fatal, moment, DEATH)).mounted():
            for command in commands(token):
                try:
                    command(jobs)
                except Killed as kill:
                    kills.append(kill)  # with its traceback, which holds all that was open
                    command(jobs)
        assert len(kills) == 1
        assert recorded(jobs) == expected, (fatal, moment)
    assert {path.name: path.read_bytes() for path in (jobs.path / "trials").glob("*.json")} == files


def test_workers_that_are_killed_again_and_again_lose_nothing(jobs, tmp_path):
    moments, names, running = random.Random(3), itertools.cycle("abc"), []

    def working(name):
        return started(WORK, jobs.path, name, tmp_path / "reported")

    for _ in range(KILLS):
        running.append(working(next(names)))
        if len(running) == 3:
            time.sleep(moments.uniform(0.1, 0.3))
            running[0].killed()
            running.pop(0).ended()
    for process in [*running, *map(working, "abc")]:
        assert process.ended()[0] in (0, 1)
    events = recorded(jobs)
    values = {facts["trial"]: facts["value"] for kind, facts in events if kind == "told"}
    reported = [line.split() for line in (tmp_path / "reported").read_text().splitlines()]
    assert {words[1] for words in reported if words[0] == "told"} <= values.keys()
    assert values == {name: float(name.partition("-")[2]) for name in jobs.status().trials}
    counts = Counter((kind, facts["trial"]) for kind, facts in events if "trial" in facts)
    assert counts == {(kind, name): 1 for kind in ("claimed", "told") for name in values}


def test_any_change_of_the_record_is_found(jobs):
    jobs.ask("a")
    with contextlib.closing(sqlite3.connect(jobs.record)) as connection, connection:
        connection.execute(
            "UPDATE events SET content = replace(content, '0.5', '0.6') WHERE kind = 'proposed'"
        )
    for command in (lambda: jobs.ask("b"), jobs.status):
        with pytest.raises(StudyError, match=r"jobs.sqlite is truncated or damaged \(chunk 2 does not hold"):
            command()


@pytest.mark.parametrize("damage", ["UPDATE arrays SET content = x'00'", "DELETE FROM arrays"])
def test_multipliers_that_are_not_what_they_were_are_not_given_out(jobs, damage):
    with contextlib.closing(sqlite3.connect(jobs.record)) as connection, connection:
        connection.execute(damage)
    with pytest.raises(StudyError, match="is not as it was recorded"):
        jobs.ask("a")
    assert not jobs.status().pending


def test_a_study_s_journal_is_no_record(tmp_path, jobs):
    journal_file.create(tmp_path / folder.RECORD)
    with pytest.raises(StudyError, match="of another program, not a jobs folder's record"):
        open_jobs(tmp_path).status()


def test_a_disk_without_locks_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "TRY_LOCK", "")  # as if the second process had got the lock too
    with pytest.raises(StudyError, match="whose locks do not work"):
        create_jobs(tmp_path / "jobs", config(runs=24))


def test_a_transaction_waits_for_the_one_before_it(jobs, monkeypatch):
    monkeypatch.setattr(store, "WAIT", 0.01)
    with contextlib.closing(sqlite3.connect(jobs.record)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StudyError, match="database is locked"):
            jobs.ask("a")
        assert jobs.status().open  # reading waits for nobody
        other.rollback()
    assert jobs.ask("a")
