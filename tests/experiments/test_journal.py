"""The journal: rows come back as they were, and a chunk is in it in full or not at all."""

import contextlib
import json
import math
import sqlite3

import pytest

from experiments.study.storage.journal import Journal, Row, label
from tests.experiments.journals import a_row, chunk, everything

FLOATS = (0.1, math.pi, 1e308, 5e-324, 0.0, -2.5, 1 / 3)


def stored(path, columns):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT {columns} FROM trials ORDER BY replicate").fetchall()


def test_scores_come_back_bit_for_bit(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.record(a_row(number, score) for number, score in enumerate(FLOATS))
    with Journal(path) as journal:
        assert journal.scores() == {
            ("screen", "rex", 0, "{}", number): score for number, score in enumerate(FLOATS)
        }
    assert stored(path, "score") == [(score,) for score in FLOATS]


def test_numbers_that_sqlite_keeps_in_another_form_do_not_look_like_damage(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.record(a_row(number, score) for number, score in enumerate((-0.0, 3, 2**60, -1e-320)))
    with Journal(path) as journal:
        assert list(journal.scores().values()) == [0.0, 3.0, float(2**60), -1e-320]


def test_every_column_of_a_row_is_what_was_recorded(tmp_path):
    path = tmp_path / "journal.sqlite"
    row = Row(
        ("select", "free", 7, '{"num_steps": 12}', 3),
        1 / 7,
        {"level_0": 2 / 3},
        0.3,
        {"train_loss": 0.3, "test_loss": 0.1},
        0.5,
    )
    with Journal(path) as journal:
        journal.record([row])
    ((*identity, base_lr, params, status, score, metrics, seconds, chunk_number),) = stored(path, "*")
    assert tuple(identity) == ("select", "free", 7, '{"num_steps": 12}', 3)
    assert (base_lr, status, score, seconds, chunk_number) == (1 / 7, "finished", 0.3, 0.5, 1)
    assert json.loads(params) == {"level_0": 2 / 3}
    assert json.loads(metrics) == {"train_loss": 0.3, "test_loss": 0.1}


def test_a_diverged_run_scores_infinity_and_its_metrics_are_nan(tmp_path):
    path = tmp_path / "journal.sqlite"
    metrics = {"train_loss": math.inf, "test_loss": math.nan, "train_error": 0.9}
    with Journal(path) as journal:
        journal.record([a_row(0, math.inf, metrics=metrics)])
        (read,) = journal.metrics("screen").values()
        assert journal.scores() == {("screen", "rex", 0, "{}", 0): math.inf}
    assert math.isnan(read["train_loss"])
    assert math.isnan(read["test_loss"])
    assert read["train_error"] == 0.9
    assert stored(path, "status, score") == [("diverged", math.inf)]


def test_counts_seconds_and_metrics_are_over_what_was_recorded(tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record([a_row(0), a_row(1, math.inf), a_row(2)])
        journal.record([a_row(0, 7.0, stage="confirm")])
        assert journal.counts() == {"finished": 3, "diverged": 1}
        assert journal.seconds() == 4 * 0.25
        assert journal.metrics("confirm") == {("confirm", "rex", 0, "{}", 0): {"train_loss": 7.0}}


@pytest.mark.parametrize("bad", [a_row(1), a_row(3, math.nan)], ids=["recorded before", "no number"])
def test_a_chunk_with_a_bad_row_leaves_nothing_of_it(tmp_path, bad):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.record([a_row(0), a_row(1)])
        with pytest.raises(sqlite3.IntegrityError):
            journal.record([a_row(2), bad, a_row(4)])
        assert stored(path, "replicate") == [(0,), (1,)]
        journal.record([a_row(2)])
    assert stored(path, "replicate") == [(0,), (1,), (2,)]


def test_events_come_back_by_kind_in_the_order_recorded(tmp_path):
    path = tmp_path / "journal.sqlite"
    contents = [{"vectorize": 4, "why": "out of memory"}, [1, 0.1, None], "äöü", 5e-324]
    with Journal(path) as journal:
        for content in contents:
            journal.record_event("narrowed", content)
            journal.record_event("other", -1)
    with Journal(path) as journal:
        journal.record([a_row(0)])
        assert journal.events("narrowed") == contents
        assert journal.events("other") == [-1] * len(contents)
        assert journal.events("never") == []
        assert journal.counts() == {"finished": 1}


def test_a_copy_in_memory_begins_with_what_was_there_and_goes_on_alone(tmp_path):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as journal:
        journal.record(chunk(0))
        journal.record_event("note", "at home")
        kept = everything(journal)
        with Journal.in_memory(journal.content()) as copy:
            assert everything(copy) == kept
            copy.record(chunk(1))
            copy.record_event("note", "away")
            assert everything(journal) == kept
            journal.record(chunk(1))
            journal.record_event("note", "away")
            assert everything(copy) == everything(journal)
            (tmp_path / "landed.sqlite").write_bytes(copy.content())
    with Journal(path) as journal, Journal(tmp_path / "landed.sqlite") as landed:
        assert everything(landed) == everything(journal)
        assert landed.events("note") == ["at home", "away"]


def test_a_new_journal_is_there_in_full_or_not_at_all(tmp_path):
    path = tmp_path / "journal.sqlite"
    (tmp_path / ".journal.sqlite.partial").write_bytes(b"left by a process killed while it made the journal")
    with Journal(path) as journal:
        journal.record([a_row(0)])
        assert [entry.name for entry in tmp_path.iterdir()] == ["journal.sqlite"]
    assert stored(path, "replicate") == [(0,)]


def test_runs_come_back_by_number_whatever_their_labels(tmp_path):
    def row(number, text):
        return Row(("screen", "rex", number, label(place=text), 0), 0.1, {}, 1.0, {"train_loss": 1.0}, 0.5)

    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.record([row(2, "a"), row(10, "c"), row(1, "b")])
        assert [(kept.number, kept.label["place"]) for kept in journal.rows("screen")] == [
            (1, "b"),
            (2, "a"),
            (10, "c"),
        ]
        assert journal.group("screen", "rex") == journal.rows("screen")
