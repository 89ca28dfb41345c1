"""The chain and the seal of a journal: what was changed behind its back is found."""

import contextlib
import hashlib
import json
import shutil
import sqlite3

import pytest

from experiments.study.options.errors import StudyError
from experiments.study.storage.journal import Journal
from tests.experiments.journals import a_row, chunk, cut_short, everything, is_sealed
from tests.experiments.toy_study import STUDY

CHUNKS = 6  # of which the fourth is an event


@pytest.fixture
def path(tmp_path):
    """A sealed journal."""
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        for number in range(CHUNKS):
            if number == 3:
                journal.record_event("note", {"narrowed to": 2})
            else:
                journal.record(chunk(number))
    return path


def unsealed(path):
    path.with_name("journal.sqlite.sha256").unlink()
    return path


def changed(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_digests_are_those_of_the_rows_and_of_the_digest_before(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        digests = connection.execute("SELECT number, digest FROM chunks ORDER BY number").fetchall()
        last = [0, ""]
        for number in range(1, CHUNKS + 1):
            trials = connection.execute(
                'SELECT stage, "group", number, label, replicate, base_lr, params, status, score,'
                " metrics, seconds FROM trials WHERE chunk = ? ORDER BY 1, 2, 3, 4, 5",
                (number,),
            )
            events = connection.execute(
                "SELECT number, kind, content FROM events WHERE chunk = ? ORDER BY 1", (number,)
            )
            content = [last, *(["trials", row] for row in trials), *(["events", row] for row in events)]
            text = json.dumps(content, separators=(",", ":"))
            last = [number, hashlib.sha256(text.encode()).hexdigest()]
            assert digests[number - 1] == tuple(last)
    assert len(digests) == CHUNKS


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE trials SET score = score + 1e-15 WHERE replicate = 0", 1),
        ("UPDATE trials SET metrics = '{}' WHERE replicate = 9", 2),
        ("UPDATE trials SET seconds = 0 WHERE replicate = 16", 3),
        ("UPDATE trials SET stage = 'scream' WHERE replicate = 17", 3),
        ("UPDATE events SET content = '{\"narrowed to\": 4}'", 4),
        ("UPDATE trials SET chunk = 5 WHERE replicate = 47", 5),
        ("DELETE FROM trials WHERE replicate = 47", 6),
        ("DELETE FROM trials WHERE replicate >= 40", 6),
        ("DELETE FROM events", 4),
        ("DELETE FROM chunks WHERE number = 2", 2),
        ("DELETE FROM chunks WHERE number = 6", 6),
        ("UPDATE chunks SET digest = replace(digest, 'a', 'b') WHERE number = 5", 5),
        ("INSERT INTO chunks VALUES (7, 'abc')", 7),
        ("INSERT INTO events VALUES (2, 'note', '3', 6)", 6),
        ("INSERT INTO events VALUES (2, 'note', '3', 9)", 7),
        ("INSERT INTO events VALUES (2, 'note', '3', -1)", 1),
        ("INSERT INTO trials SELECT 'confirm', 'rex', 0, '{}', 0, 1, '{}', status, 1, '{}', 1, 2 FROM trials"
         " LIMIT 1", 2),
    ],
)  # fmt: skip
def test_a_change_of_a_row_is_found_and_its_chunk_named(path, statement, broken):
    changed(unsealed(path), statement)
    content = path.read_bytes()
    with pytest.raises(StudyError, match=rf"chunk {broken} does not hold what was recorded") as error:
        Journal(path)
    assert str(path) in str(error.value)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE trials RENAME COLUMN score TO loss",
        "CREATE TABLE more (x)",
        "CREATE INDEX i ON trials (chunk)",
    ],
)
def test_other_tables_are_refused(path, statement):
    with contextlib.closing(sqlite3.connect(unsealed(path))) as connection:
        connection.execute(statement)
    with pytest.raises(StudyError, match="tables are not those of a journal"):
        Journal(path)


def test_a_journal_is_sealed_from_its_end_to_the_next_record(path):
    assert is_sealed(path)
    with Journal(path) as journal:
        everything(journal)
        assert is_sealed(path)
        journal.record([])
        assert is_sealed(path)
        journal.record([a_row(100)])
        assert not path.with_name("journal.sqlite.sha256").exists()
    assert is_sealed(path)


def test_a_journal_whose_study_failed_is_not_sealed(path):
    with contextlib.suppress(KeyboardInterrupt), Journal(path) as journal:
        journal.record([a_row(100)])
        raise KeyboardInterrupt
    assert [entry.name for entry in path.parent.iterdir()] == ["journal.sqlite"]
    with Journal(path) as journal:
        assert len(journal.scores()) == 8 * (CHUNKS - 1) + 1
    assert is_sealed(path)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trials SET score = 2 WHERE replicate = 0",
        "PRAGMA user_version = 5; VACUUM",  # the same rows, in another file
    ],
)
def test_a_sealed_journal_is_the_file_it_was(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(statement)
    with pytest.raises(StudyError, match="not the file that was sealed") as error:
        Journal(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("seal", [b"", b"\xff\xfe", b"0" * 64 + b"  journal.sqlite\n"])
def test_a_damaged_seal_is_found(path, seal):
    path.with_name("journal.sqlite.sha256").write_bytes(seal)
    with pytest.raises(StudyError, match="not the file that was sealed"):
        Journal(path)


def test_what_a_journal_that_was_moved_away_left_behind_is_not_taken_for_the_new_one_s(path):
    killed = cut_short(path, path.parent / "killed")
    killed.unlink()
    shutil.copy(path.with_name("journal.sqlite.sha256"), killed.parent)
    path = killed
    with Journal(path) as journal:
        assert journal.counts() == {}
        journal.record([a_row(0)])
    assert is_sealed(path)
    assert not path.with_name("journal.sqlite-journal").exists()


def test_a_report_leaves_a_finished_study_s_journal_sealed(tmp_path):
    STUDY.run(STUDY.presets["toy"], tmp_path / "study")
    path = tmp_path / "study" / "journal.sqlite"
    content = path.read_bytes()
    STUDY.report(path.parent)
    assert is_sealed(path)
    assert path.read_bytes() == content
