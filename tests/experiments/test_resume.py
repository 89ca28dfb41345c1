"""A study that was killed and run again ends as if nothing had happened, bit for bit."""

import contextlib
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.shape_search import run
from experiments.study.journal import Journal
from tests.experiments.journals import forget_runs

KILLS = 3
ROOT = Path(__file__).parents[2]


def start(folder, options):
    command = [sys.executable, "-m", "experiments.shape_search", *options, "--chunk-runs", "3"]
    return subprocess.Popen(
        [*command, "--folder", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(folder, options):
    process = start(folder, options)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output.decode()


def rows_so_far(folder):
    """Rows committed so far, seen from outside; none before there is a journal."""
    if not (folder / "journal.sqlite").exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{folder}/journal.sqlite?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]


def kill_after(folder, options, rows, delay):
    """Start the study, and SIGKILL it `delay` seconds after it has recorded `rows` rows."""
    process = start(folder, options)
    deadline = time.monotonic() + 120
    while process.poll() is None and rows_so_far(folder) < rows and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(delay)
    process.kill()
    process.communicate()
    assert process.returncode == -9


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
        kill_after(killed, options, rows, delay=moments.uniform(0, 0.03))
        rows = sound_rows(killed, tmp_path / f"after_kill_{number}")
        assert seen.items() <= rows.items()  # what was recorded before is still there
        seen = rows
        kept.append(len(rows))
        assert not (killed / "winners.json").exists()
    assert sum(0 < count < len(expected) for count in kept) >= 2, kept  # kills in the middle of the search
    finish(killed, options)
    assert journal_rows(killed) == expected
    assert (killed / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()
    assert not list(killed.glob(".*"))


def recording_times(folder):
    columns = "stage, family, candidate, variant, replicate, seconds"
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        return set(connection.execute(f"SELECT {columns} FROM trials"))


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    "lost",
    ["stage = 'confirm'", "stage != 'screen' OR candidate > 3", "replicate = 1", "1"],
    ids=["the last stage", "all but the first batch", "every third run", "everything"],
)
def test_lost_rows_come_back_and_the_others_stay(study_copy, finished, tiny_config, journal_rows, lost):
    assert forget_runs(study_copy, lost) > 0
    (study_copy / "winners.json").unlink()
    left = recording_times(study_copy)
    run(tiny_config(), study_copy)
    assert journal_rows(study_copy) == journal_rows(finished.folder)
    assert left <= recording_times(study_copy)
    assert (study_copy / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()


@pytest.mark.usefixtures("no_report", "no_training")
def test_a_finished_study_runs_nothing_again(study_copy, finished, tiny_config):
    before = recording_times(study_copy)
    (study_copy / "winners.json").unlink()
    (study_copy / ".winners.json.partial").write_text('{"format": "stee')
    run(tiny_config(), study_copy)
    assert recording_times(study_copy) == before
    assert (study_copy / "winners.json").read_bytes() == (finished.folder / "winners.json").read_bytes()


@pytest.mark.usefixtures("no_report")
def test_a_study_killed_before_its_journal_was_made_starts(tmp_path, finished, tiny_config, journal_rows):
    shutil.copy(finished.folder / "config.json", tmp_path / "config.json")
    (tmp_path / ".journal.sqlite.partial").write_bytes(b"SQLite format 3\x00 and no more")
    run(tiny_config(), tmp_path)
    assert journal_rows(tmp_path) == journal_rows(finished.folder)
