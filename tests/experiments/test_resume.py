"""A study that was killed and run again ends as if nothing had happened, bit for bit."""

import contextlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from experiments.shape_search import STUDY
from experiments.study.storage.journal import Journal
from tests.experiments.processes import KILLED_SEARCH, PATIENCE, ROOT

KILLS = 3


def ended(folder, options, *program):
    """The status with which a process ends that runs the search in a folder, and what it prints."""
    command = [sys.executable, *program, *options, "--chunk-runs", "3", "--folder", str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.run(command, cwd=ROOT, timeout=PATIENCE, **pipes)
    return process.returncode, process.stdout


def sound_rows(folder, scratch):
    """The rows of what a kill left behind, from a copy, so that looking changes nothing."""
    shutil.copytree(folder, scratch)
    with contextlib.closing(sqlite3.connect(scratch / "journal.sqlite")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    with Journal(scratch / "journal.sqlite") as journal:
        return journal.scores()


def test_a_study_killed_again_and_again_ends_as_an_uninterrupted_one(
    tmp_path, finished, command_options, journal_rows
):
    options, killed = command_options(), tmp_path / "killed"
    expected = journal_rows(finished.folder)
    moments = random.Random(2)
    kept, seen = [], {}
    for number in range(KILLS):
        rows = moments.randrange(number * len(expected) // KILLS, (number + 1) * len(expected) // KILLS)
        delay = moments.uniform(0.001, 0.03)
        status, output = ended(killed, options, "-c", KILLED_SEARCH, str(rows), str(delay))
        assert status == -signal.SIGPROF, output
        rows = sound_rows(killed, tmp_path / f"after_kill_{number}")
        assert seen.items() <= rows.items()  # what was recorded before is still there
        seen = rows
        kept.append(len(rows))
        assert not (killed / "winners.json").exists()
    assert sum(0 < count < len(expected) for count in kept) >= 2, kept  # kills in the middle of the search
    status, output = ended(killed, options, "-m", "experiments", "shape_search")
    assert status == 0, output
    assert journal_rows(killed) == expected
    assert (killed / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()
    assert not list(killed.glob(".*"))


@pytest.mark.usefixtures("no_report")
def test_a_study_killed_before_its_journal_was_made_starts(tmp_path, finished, tiny_config, journal_rows):
    shutil.copy(finished.folder / "config.json", tmp_path / "config.json")
    (tmp_path / ".journal.sqlite.partial").write_bytes(b"SQLite format 3\x00 and no more")
    STUDY.run(tiny_config(), tmp_path)
    assert journal_rows(tmp_path) == journal_rows(finished.folder)
