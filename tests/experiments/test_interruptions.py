"""Interruptions and what is compared after them, against journals read here and studies that were changed by
hand."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console

from experiments.endurance import interruptions, main
from experiments.endurance.apart import SmallStudy, finish, output_of
from experiments.endurance.evidence import lost_rows, recorded
from experiments.endurance.interruptions import (
    ALL_RUNS,
    ENDED,
    NO_JOURNAL,
    NO_RUN,
    SOME_RUNS,
    Endured,
    Interruption,
    Interruptions,
    differences,
)
from experiments.endurance.measuring import Bar, show_bars
from experiments.study.study import Study
from tests.experiments.journals import asked


def changed(folder, statement, journal="journal.sqlite"):
    """How many rows the statement changed."""
    with contextlib.closing(sqlite3.connect(folder / journal)) as connection, connection:
        return connection.execute(statement).rowcount


def compared(folder):
    """How many rows of a journal are: all but what the study found, which is compared as winners.json."""
    runs, events = "SELECT COUNT(*) FROM trials", "SELECT COUNT(*) FROM events WHERE kind != 'winners'"
    return sum(asked(folder, query)[0][0] for query in (runs, events))


TINY = SmallStudy(
    "shape_search",
    "--workload linear_regression --workload-options dimension 8 --optimizer sgd --batch-size 4"
    " --num-steps 20 --learning-rates 0.1 4 --families constant --strategy random --candidates 4"
    " --batch 4 --rung-replicates 2 --top 1 --select-replicates 3 --confirm-replicates 5 --checked 0"
    " --chunk-runs 4",
)
RUNS = 2 * (4 * 2 + 3 + 5)  # cosine is added


class Measured(NamedTuple):
    """A study that was interrupted twice, and where it and its finished ones are."""

    endured: Endured
    place: Path

    @property
    def whole(self):
        return self.place / "whole"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interruptions, "STUDIES", {"tiny": TINY})
        return Measured(Interruptions(moments=2).measure("tiny", scratch), scratch / "tiny")


@pytest.fixture
def whole(measured):
    """The folder of the study, finished without interruption."""
    return measured.whole


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of it, to do anything with."""
    return Path(shutil.copytree(whole, tmp_path / "copy"))


class Killed:
    """A process that a signal ended, or that had ended before."""

    def __init__(self, exitcode):
        self.exitcode = exitcode

    def join(self, seconds=None):
        pass

    def kill(self):
        self.exitcode = -9 if self.exitcode is None else self.exitcode

    terminate = kill


@pytest.fixture
def interrupted(monkeypatch, tmp_path, whole):
    """(what is done to a copy of the finished study before the kill, and after it) → the interruption."""

    def interrupt(prepare, finish, exitcode=None):
        folder = tmp_path / "killed"

        def start(*_):
            shutil.copytree(whole, folder)
            prepare(folder)
            return Killed(exitcode)

        monkeypatch.setattr(interruptions, "start", start)
        monkeypatch.setattr(interruptions, "finish", lambda *_: finish(folder))
        return Interruptions(moments=1).interrupt(TINY, 0.0, folder, whole, tmp_path / "compiled")

    return interrupt


def nothing(folder):
    pass


def test_an_interrupted_study_is_found_equal_and_its_runs_are_counted(measured):
    endured = measured.endured
    assert endured.equal == len(endured.interruptions), endured
    assert sum(interruption.stage != ENDED for interruption in endured.interruptions) == 2
    assert all(0 <= interruption.moment <= endured.seconds for interruption in endured.interruptions)
    assert all(interruption.status in (-9, 0) for interruption in endured.interruptions)
    assert endured.runs == asked(measured.whole, "SELECT COUNT(*) FROM trials")[0][0] == RUNS
    for number in range(endured.equal):
        assert differences(TINY, measured.whole, measured.place / str(number)) == []


def test_a_study_that_has_ended_is_interrupted_once_more_and_earlier(monkeypatch, tmp_path):
    stages = iter([SOME_RUNS, ENDED, ENDED, NO_RUN])
    monkeypatch.setattr(interruptions, "STUDIES", {"tiny": TINY})
    monkeypatch.setattr(interruptions, "finish", lambda *_: 10.0)
    monkeypatch.setattr(interruptions, "differences", lambda *_: [])
    monkeypatch.setattr(
        Interruptions, "interrupt", lambda self, _, moment, *__: Interruption(moment, next(stages), 0, ())
    )
    moments = [
        interruption.moment
        for interruption in Interruptions(moments=2).measure("tiny", tmp_path).interruptions
    ]
    assert 10 > moments[1] > moments[2] > moments[3] > 0


def test_compiled_programs_that_were_cut_short_change_nothing(tmp_path, measured):
    """As a kill leaves them while they are written."""
    compiled, cut = measured.place / "compiled", random.Random(0)
    programs = list(compiled.iterdir())
    for program in programs:
        content = program.read_bytes()
        program.write_bytes(content[: cut.randrange(len(content))])
    finish(TINY, tmp_path / "again", compiled)
    assert len(programs) > 5
    assert "persistent compilation cache" in output_of(tmp_path / "again").read_text()
    assert differences(TINY, measured.whole, tmp_path / "again") == []


def test_a_single_bit_of_a_single_row_is_a_difference(copy, whole):
    assert differences(TINY, whole, copy) == []
    key = 'stage, "group", number, label, replicate'
    place = f"({key}) = (SELECT {key} FROM trials LIMIT 1)"
    ((score,),) = asked(copy, f"SELECT score FROM trials WHERE {place}")
    changed(copy, f"UPDATE trials SET score = {float(np.nextafter(score, 1))!r} WHERE {place}")
    assert differences(TINY, whole, copy) == [f"1 of {compared(whole)} rows differ"]


@pytest.mark.parametrize(
    ("statement", "counts"),
    [
        ("UPDATE trials SET seconds = 2 * seconds", False),
        ("DELETE FROM trials WHERE stage = 'confirm' AND replicate = 3", True),
        ("UPDATE trials SET metrics = metrics || ' ' WHERE stage = 'select'", True),
        ("INSERT INTO events VALUES (99, 'kind', 'null', 1)", True),
    ],
    ids=["times", "lost rows", "texts", "events"],
)
def test_all_but_times_is_compared(copy, whole, statement, counts):
    number = changed(copy, statement)
    assert number > 0
    problems = differences(TINY, whole, copy)
    assert [int(problem.split()[0]) for problem in problems] == ([number] if counts else [])


def test_of_winners_only_what_was_timed_may_differ(copy, whole, monkeypatch):
    winners = copy / "winners.json"
    winners.write_text(winners.read_text().replace('"replicates": 5', '"replicates": 6'))
    assert differences(TINY, whole, copy) == ["winners.json differs"]
    monkeypatch.setattr(Study, "timed_keys", lambda study, folder: {"replicates"})
    assert differences(TINY, whole, copy) == []


def test_a_study_that_resumes_well_has_no_problems(interrupted):
    assert interrupted(nothing, nothing) == Interruption(0.0, ALL_RUNS, -9, ())


@pytest.mark.parametrize(
    ("statement", "equal"),
    [("SET seconds = seconds + 1", True), ("SET score = 1.5", False)],
    ids=["run again", "come out otherwise"],
)
def test_recorded_rows_that_do_not_stay_are_a_problem(interrupted, statement, equal):
    numbers = []
    chosen = f"UPDATE trials {statement} WHERE stage = 'confirm' AND replicate = 4"
    found = interrupted(nothing, lambda folder: numbers.append(changed(folder, chosen)))
    assert found.problems[0].startswith(f"{numbers[0]} of ")
    assert found.problems[0].endswith("recorded rows were lost or run again")
    assert [problem.endswith("rows differ") for problem in found.problems[1:]] == ([] if equal else [True])


def test_runs_that_come_only_after_the_kill_must_come_out_the_same(interrupted, whole):
    """As of a resumed study whose keys come from the clock: what was recorded stays, what follows differs."""
    chosen = "WHERE stage = 'confirm' AND replicate > 2"
    rows = asked(whole, f"SELECT * FROM trials {chosen}")

    def otherwise(folder):
        values = ", ".join("?" * len(rows[0]))
        with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection, connection:
            connection.executemany(f"INSERT INTO trials VALUES ({values})", rows)
        changed(folder, f"UPDATE trials SET score = score * 1.01 {chosen}")

    found = interrupted(lambda folder: changed(folder, f"DELETE FROM trials {chosen}"), otherwise)
    assert found.problems == (f"{len(rows)} of {compared(whole)} rows differ",)


@pytest.mark.parametrize(
    ("recorded", "exitcode", "stage"),
    [
        (lambda folder: (folder / "journal.sqlite").unlink(), None, NO_JOURNAL),
        (lambda folder: changed(folder, "DELETE FROM trials"), None, NO_RUN),
        (lambda folder: changed(folder, "DELETE FROM trials WHERE replicate = 1"), None, SOME_RUNS),
        (nothing, None, ALL_RUNS),
        (nothing, 0, ENDED),
    ],
    ids=[NO_JOURNAL, NO_RUN, SOME_RUNS, ALL_RUNS, ENDED],
)
def test_how_far_an_interrupted_study_had_come_is_told(interrupted, recorded, exitcode, stage):
    assert interrupted(recorded, nothing, exitcode).stage == stage


def test_a_study_that_ends_by_itself_with_an_error_is_a_problem(interrupted):
    (problem,) = interrupted(nothing, nothing, exitcode=1).problems
    assert problem.startswith("interrupted, it ended with 1")


def test_the_rows_of_a_folder_are_all_those_of_its_journal_and_reading_changes_nothing(whole):
    def files():
        return {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}

    files_then = files()
    rows = recorded(whole)
    assert files() == files_then
    expected = asked(whole, 'SELECT stage, "group", number, label, replicate, score FROM trials')
    places = [("journal.sqlite", "trials", *identity) for *identity, _ in expected]
    events = [("journal.sqlite", "events", number) for (number,) in asked(whole, "SELECT number FROM events")]
    assert list(rows) == places + events
    assert [float.fromhex(rows[place]["score"]) for place in places] == [score for *_, score in expected]
    assert lost_rows(rows, rows) == 0
    assert lost_rows(rows, dict(list(rows.items())[3:])) == 3


def test_the_exit_status_and_a_line_a_bar_say_what_held(monkeypatch):
    interruption = Interruption(1.25, SOME_RUNS, -9, ("3 of 9 rows differ",))
    endured = Endured("tiny", 9, 2.0, (interruption, Interruption(0.5, SOME_RUNS, -9, ())))
    monkeypatch.setattr(Interruptions, "_measured", lambda *_: iter([endured]))
    assert main(["interruptions", "--moments", "2"]) == 1
    console = Console(record=True, width=150)
    assert not Interruptions(moments=2).report(console)
    text = console.export_text()
    assert "NOT held: tiny ends as uninterrupted; measured 1 of 2" in text
    assert "after 1.25 s: 3 of 9 rows differ" in text
    assert show_bars([Bar("asked", "measured", True)], console)
