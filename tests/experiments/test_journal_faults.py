"""Kills and full disks: what was reported as recorded is there, and the study goes on to the same rows."""

import contextlib
import errno
import itertools
import os
import random
import shutil
import signal
import sqlite3
import time

import pytest

from experiments.study.options.errors import StudyError
from experiments.study.storage.database import explained_errors
from experiments.study.storage.journal import Journal
from tests.experiments.journals import chunk, is_sealed
from tests.experiments.processes import output_of, started

KILLS = 12
CHUNKS = 40

# for every line that it reads, a process that records until it is killed, forked where all is imported
RECORD_ON_AND_ON = """
import itertools, os, sys
from pathlib import Path
from experiments.study.storage.database import explained_errors
from experiments.study.storage.journal import Journal
from tests.experiments.journals import chunk

for _ in sys.stdin:
    recorder = os.fork()
    if not recorder:
        print(os.getpid(), flush=True)
        with Journal(Path(sys.argv[1])) as journal:
            for number in itertools.count(sum(journal.counts().values()) // 100):
                journal.record(chunk(number, 100))
                print(number, flush=True)
    _, status = os.waitpid(recorder, 0)
    assert os.waitstatus_to_exitcode(status) == -9
    print("killed", flush=True)
"""

# for every limit of a file's size, in a folder of that name
RECORD_WITH_LIMITED_FILES = """
import resource, sys
from pathlib import Path
from experiments.study.options.errors import StudyError
from experiments.study.storage.database import explained_errors
from experiments.study.storage.journal import Journal
from tests.experiments.journals import chunk

for limit in map(int, sys.argv[2:]):
    path = Path(sys.argv[1], str(limit), "journal.sqlite")
    path.parent.mkdir()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    reported = 0
    try:
        with Journal(path) as journal:
            for number in range(40):
                journal.record(chunk(number))
                reported += 1
    except StudyError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(limit, reported, error, sep="|")
"""


def scores_of(chunks, size=8):
    return {row.identity: row.score for number in range(chunks) for row in chunk(number, size)}


def test_a_journal_killed_again_and_again_holds_every_chunk_that_was_reported(tmp_path):
    path = tmp_path / "study" / "journal.sqlite"
    path.parent.mkdir()
    moments, kept, process = random.Random(5), 0, started(RECORD_ON_AND_ON, path)
    for kill in range(KILLS):
        print("record", file=process.stdin, flush=True)
        recorder = int(process.stdout.readline())
        reported = [process.stdout.readline() for _ in range(moments.randrange(1, 4))]
        time.sleep(moments.uniform(0, 0.02))
        os.kill(recorder, signal.SIGKILL)
        later = itertools.takewhile(lambda line: line != "killed\n", process.stdout)
        numbers = [int(line) for line in (*reported, *later)]
        assert numbers == list(range(kept, kept + len(numbers)))  # it went on where the last one was killed
        shutil.copytree(path.parent, tmp_path / str(kill))  # the next one meets what the kill left
        with Journal(tmp_path / str(kill) / path.name) as journal:
            kept = len(journal.scores()) // 100
            assert journal.scores() == scores_of(kept, 100)
        assert numbers[-1] < kept  # which may hold more: what was recorded and not yet reported
    assert process.ended()[0] == 0


def test_a_full_disk_keeps_what_was_reported_and_the_study_goes_on(tmp_path):
    """A limit of the size of a file stands for the disk."""
    limits = [20_000, 24_576, 30_001, 36_863, 45_000, 53_248, 60_000]
    lines = output_of(RECORD_WITH_LIMITED_FILES, tmp_path, *limits).splitlines()
    assert len(lines) == len(limits)
    kept = []
    for line in lines:
        limit, reported, message = line.split("|")
        path = tmp_path / limit / "journal.sqlite"
        assert f"{path} cannot be read or written" in message
        assert "Everything recorded before is kept" in message
        assert "the same command resumes" in message
        assert not is_sealed(path)
        with Journal(path) as journal:
            assert journal.scores() == scores_of(int(reported))
            for number in range(int(reported), CHUNKS):
                journal.record(chunk(number))
            assert journal.scores() == scores_of(CHUNKS)
        kept.append(int(reported))
    assert kept == sorted(kept)
    assert kept[0] < kept[-1] < CHUNKS


def test_a_full_disk_before_the_first_row_leaves_no_half_journal(tmp_path):
    (line,) = output_of(RECORD_WITH_LIMITED_FILES, tmp_path, 5000).splitlines()
    assert f"{tmp_path}/5000/journal.sqlite cannot be written: File too large." in line
    assert list((tmp_path / "5000").iterdir()) == []


def test_a_journal_that_another_program_keeps_busy_cannot_be_written_to(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal, contextlib.closing(sqlite3.connect(path)) as other:
        journal.record(chunk(0))
        journal._connection.execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StudyError, match=r"journal.sqlite cannot be read or written: database is locked"):
            journal.record(chunk(1))
        other.rollback()
        journal.record(chunk(1))
        assert journal.scores() == scores_of(2)


def test_a_file_that_goes_bad_under_an_open_journal_is_named(tmp_path):
    path = tmp_path / "journal.sqlite"
    with contextlib.suppress(StudyError), Journal(path) as journal:
        journal.record(chunk(0))
        path.write_bytes(random.Random(0).randbytes(path.stat().st_size))
        for use in (
            lambda: journal.scores(),
            lambda: journal.rows("screen"),
            lambda: journal.record(chunk(1)),
        ):
            with pytest.raises(StudyError, match=r"journal.sqlite is truncated or damaged"):
                use()
        use()
    assert not is_sealed(path)


def test_a_journal_that_may_not_be_read_is_refused_by_name(tmp_path, monkeypatch):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.record(chunk(0))

    def refuse(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(StudyError, match=r"journal.sqlite cannot be read or written: .*Permission denied"):
        Journal(path)


@pytest.mark.parametrize(
    "code", ["IOERR_FSYNC", "IOERR_WRITE", "READONLY_DIRECTORY", "CANTOPEN", "FULL", "PERM"]
)
def test_an_obstacle_is_told_from_damage(code, tmp_path):
    path = tmp_path / "journal.sqlite"
    path.touch()
    failure = sqlite3.OperationalError("what SQLite says of it")
    failure.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{code}")
    message = r"journal.sqlite cannot be read or written: what SQLite says of it\."
    with pytest.raises(StudyError, match=message), explained_errors(path):
        raise failure
