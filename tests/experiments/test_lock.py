"""A study's folder is one process's at a time, and free at once when that process is killed."""

import json
import os
import re
import socket

import pytest

from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import locked, open_folder
from experiments.study.storage.journal import Journal
from tests.experiments.processes import PATIENCE, started
from tests.experiments.toy_study import STUDY

HOLD = """
import sys
from pathlib import Path
from experiments.study.storage.folder import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

COUNT = """
import sys
from pathlib import Path
from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import locked

folder, left = Path(sys.argv[1]), int(sys.argv[2])
counter = folder / "count"
while left:
    try:
        with locked(folder):
            before = int(counter.read_text())
            counter.write_text("0")  # seen by whoever else gets in
            counter.write_text(str(before + 1))
            left -= 1
    except StudyError:
        pass
"""


@pytest.fixture
def owner(tmp_path):
    """A process that holds the lock of the folder "study" until its input ends."""
    process = started(HOLD, tmp_path / "study")
    assert process.stdout.readline() == "held\n"
    yield process
    process.killed()
    process.ended()


def test_a_second_process_is_refused_with_the_first_s_name(tmp_path, owner):
    with pytest.raises(StudyError) as error, locked(tmp_path / "study"):
        pytest.fail("two processes in one folder")
    holder = f"process {owner.process.pid} on {socket.gethostname()}"
    message = rf"{tmp_path}/study is in use by {holder} \(since (.*)\)\."
    since = re.fullmatch(message, str(error.value))[1]
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", since)
    owner.stdin.close()
    owner.process.join(PATIENCE)
    with locked(tmp_path / "study"):
        pass


def test_the_folder_of_a_killed_process_is_free_at_once(tmp_path, owner):
    owner.killed()
    assert (tmp_path / "study" / ".lock").exists()
    with locked(tmp_path / "study"):
        assert json.loads((tmp_path / "study" / ".lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "study" / ".lock").exists()


def test_what_a_killed_process_left_is_no_foreign_file(tmp_path, owner):
    owner.killed()
    open_folder(tmp_path / "study", {"seed": 3})
    assert {entry.name for entry in (tmp_path / "study").iterdir()} == {".lock", "config.json"}


def test_another_folder_is_free(tmp_path, owner):
    with locked(tmp_path / "other"):
        assert owner.process.is_alive()


def test_a_lock_whose_owner_has_not_written_its_name_yet_refuses_too(tmp_path, owner):
    (tmp_path / "study" / ".lock").write_text("")
    with pytest.raises(StudyError, match="study is in use by another process"), locked(tmp_path / "study"):
        pytest.fail("two processes in one folder")


def test_the_lock_goes_with_the_context_however_it_ends(tmp_path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), locked(tmp_path):
            raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_no_two_of_many_processes_are_ever_in_together(tmp_path):
    """Were the lock's file removed by one while another waits for it, a third could lock a new one."""
    (tmp_path / "count").write_text("0")
    processes = [started(COUNT, tmp_path, 40) for _ in range(4)]
    assert [process.ended()[0] for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "160"


def test_a_folder_that_cannot_be_locked_is_refused_by_name(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudyError, match=r"file/study cannot be written to: Not a directory\."):  # noqa: SIM117
        with locked(tmp_path / "file" / "study"):
            pytest.fail("no folder")


def test_a_report_of_a_study_in_use_is_refused(tmp_path, owner):
    (tmp_path / "study" / "config.json").write_text(json.dumps(STUDY.fields(STUDY.presets["toy"])))
    with Journal(tmp_path / "study" / "journal.sqlite") as journal:
        journal.record([])
    with pytest.raises(StudyError, match=f"study is in use by process {owner.process.pid} on"):
        STUDY.report(tmp_path / "study")
    owner.stdin.close()
    owner.process.join(PATIENCE)
    with pytest.raises(StudyError, match=r"study is not finished \(8 runs"):
        STUDY.report(tmp_path / "study")
