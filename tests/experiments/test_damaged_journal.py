"""A journal that is damaged or foreign is refused by name, and neither read nor touched."""

import contextlib
import os
import shutil
import sqlite3

import numpy as np
import pytest

from experiments.shape_search import main
from experiments.study.options.errors import StudyError
from experiments.study.storage.journal import Journal, Row

pytestmark = pytest.mark.xdist_group("finished")

PAGE = 4096
ROWS = 400


@pytest.fixture(scope="session")
def intact(tmp_path_factory):
    """The bytes of a sound journal of many pages."""
    path = tmp_path_factory.mktemp("intact") / "journal.sqlite"
    with Journal(path) as journal:
        journal.record(
            Row(
                ("screen", "rex", number, "{}", 0),
                0.1,
                {"beta": 1 / (number + 3)},
                1.0,
                {"train_loss": 1.0},
                0.1,
            )
            for number in range(ROWS)
        )
    content = path.read_bytes()
    assert len(content) > 8 * PAGE
    with Journal(path) as journal:
        assert len(journal.scores()) == ROWS
    return content


def overwritten(content, start, length, seed=0):
    noise = np.random.default_rng(seed).integers(0, 256, length, dtype=np.uint8).tobytes()
    return content[:start] + noise + content[start + length :]


DAMAGES = {
    "empty": lambda content: b"",
    "one byte": lambda content: content[:1],
    "half a header": lambda content: content[:50],
    "header alone": lambda content: content[:100],
    "one page": lambda content: content[:PAGE],
    "half": lambda content: content[: len(content) // 2],
    "half, whole pages": lambda content: content[: len(content) // PAGE // 2 * PAGE],
    "last page missing": lambda content: content[:-PAGE],
    "last byte missing": lambda content: content[:-1],
    "first page of noise": lambda content: overwritten(content, 0, PAGE),
    "a middle page of noise": lambda content: overwritten(content, 5 * PAGE, PAGE),
    "a middle page of zeros": lambda content: content[: 5 * PAGE] + bytes(PAGE) + content[6 * PAGE :],
    "cell pointers of noise": lambda content: overwritten(content, 5 * PAGE + 8, 20),
    "free space of noise": lambda content: overwritten(content, 5 * PAGE + 1, 2),
    "marked as one with a write-ahead log": lambda content: content[:18] + b"\2\2" + content[20:],
    "tables' names of noise": lambda content: content.replace(b"TABLE trials", b"TABLE \xdc\xdc\xdcals"),
    "tables' words of noise": lambda content: content.replace(b"CREATE TABLE", b"CREATE \xdc\xdc\xdcLE"),
    "noise": lambda content: overwritten(content, 0, len(content)),
    "text": lambda content: b"stage,family,candidate\nscreen,rex,0\n" * 300,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_refused_and_left_alone(tmp_path, intact, damage):
    path = tmp_path / "journal.sqlite"
    content = DAMAGES[damage](intact)
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"journal\.sqlite") as error:
        Journal(path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == content


def test_another_program_s_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "journal.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TABLE trials (stage TEXT, score REAL); INSERT INTO trials VALUES ('a', 1);"
        )
    content = path.read_bytes()
    with pytest.raises(StudyError, match="another program") as error:
        Journal(path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == content


def test_another_format_is_refused_with_both_numbers(tmp_path, intact):
    path = tmp_path / "journal.sqlite"
    path.write_bytes(intact)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 41}")
    content = path.read_bytes()
    with pytest.raises(StudyError, match=rf"format {version + 41}.*format {version}\b") as error:
        Journal(path)
    assert path.read_bytes() == content
    assert str(path) in str(error.value)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_a_journal_that_is_no_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "journal.sqlite")
    with pytest.raises(StudyError, match=r"journal\.sqlite is no file"):
        Journal(tmp_path / "journal.sqlite")


def test_a_seal_that_is_no_file_is_broken_and_not_waited_for(tmp_path, intact):
    (tmp_path / "journal.sqlite").write_bytes(intact)
    os.mkfifo(tmp_path / "journal.sqlite.sha256")
    with pytest.raises(StudyError, match="it is not the file that was sealed"):
        Journal(tmp_path / "journal.sqlite")


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("command", ["search", "report"])
def test_the_command_ends_with_a_message_that_names_the_journal(study_copy, command_options, capsys, command):
    journal = study_copy / "journal.sqlite"
    content = journal.read_bytes()
    content = content[: len(content) // 2]
    journal.write_bytes(content)
    winners = (study_copy / "winners.json").read_bytes()
    arguments = {
        "search": [*command_options(), "--folder", str(study_copy)],
        "report": ["report", str(study_copy)],
    }[command]
    assert main(arguments) == 2
    printed = "".join(capsys.readouterr())
    assert f"{journal} is truncated or damaged" in printed
    assert "Traceback" not in printed
    assert journal.read_bytes() == content
    assert (study_copy / "winners.json").read_bytes() == winners


@pytest.mark.usefixtures("no_training")
def test_a_journal_moved_away_does_not_let_a_report_pass(study_copy, tmp_path, capsys):
    shutil.move(study_copy / "journal.sqlite", tmp_path / "elsewhere")
    assert main(["report", str(study_copy)]) == 2
    assert str(study_copy) in capsys.readouterr().out
    assert not (study_copy / "journal.sqlite").exists()
