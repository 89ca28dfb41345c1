"""The endurance measurements: what they report is checked against journals read here, studies that were
changed by hand, and numbers made up for the purpose."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import __main__ as names
from experiments.endurance import interruptions, main, overhead, scaling, soak
from experiments.endurance.apart import finish, one_process, output_of
from experiments.endurance.bars import Bar, show_bars
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
from experiments.endurance.overhead import timed
from experiments.endurance.scaling import Scaled
from experiments.endurance.small_studies import STUDIES, small_study
from experiments.endurance.soak import CHUNK, Soaked
from experiments.endurance.watching import watched
from experiments.shape_search import run
from experiments.throughput.training import SETTINGS

NO_STUDIES = {"doctor", "endurance", "throughput"}


def changed(folder, statement, journal="journal.sqlite"):
    """How many rows the statement changed."""
    with contextlib.closing(sqlite3.connect(folder / journal)) as connection, connection:
        return connection.execute(statement).rowcount


def asked(folder, query):
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        return connection.execute(query).fetchall()


TINY = small_study(
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


@pytest.fixture
def small_config(tiny_config):
    """(changes) → the config of a search of one family with few runs."""
    small = {"families": ("constant",), "strategy": "random", "candidates": 4, "select_replicates": 1}
    return lambda **changes: tiny_config(**{**small, **changes})


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

    def interrupt(before, after, exitcode=None):
        folder = tmp_path / "killed"

        def start(*_):
            shutil.copytree(whole, folder)
            before(folder)
            return Killed(exitcode)

        monkeypatch.setattr(interruptions, "start", start)
        monkeypatch.setattr(interruptions, "finish", lambda *_: after(folder))
        return Interruptions(moments=1).interrupt(TINY, 0.0, folder, whole, tmp_path / "compiled")

    return interrupt


def nothing(folder):
    pass


def test_every_study_has_a_small_one():
    assert {one.package for one in STUDIES.values()} == set(names.STUDIES) - NO_STUDIES


def test_an_interrupted_study_is_found_equal_and_its_runs_are_counted(measured):
    endured = measured.endured
    assert endured.equal == len(endured.interruptions) == 2, endured
    assert all(0 <= one.moment <= endured.seconds for one in endured.interruptions)
    assert all(one.status in (-9, 0) for one in endured.interruptions)
    assert endured.runs == asked(measured.whole, "SELECT COUNT(*) FROM trials")[0][0] == RUNS
    for number in range(2):
        assert differences(TINY, measured.whole, measured.place / str(number)) == []


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
    place = "(stage, family, candidate, variant, replicate) = (SELECT stage, family, candidate, variant,"
    place += " replicate FROM trials LIMIT 1)"
    ((score,),) = asked(copy, f"SELECT score FROM trials WHERE {place}")
    changed(copy, f"UPDATE trials SET score = {float(np.nextafter(score, 1))!r} WHERE {place}")
    total = asked(whole, "SELECT COUNT(*) FROM trials")[0][0]
    assert differences(TINY, whole, copy) == [f"1 of {total} rows differ"]


@pytest.mark.parametrize(
    ("statement", "counts"),
    [
        ("UPDATE trials SET seconds = 2 * seconds", False),
        ("DELETE FROM trials WHERE stage = 'confirm' AND replicate = 3", True),
        ("UPDATE trials SET metrics = metrics || ' ' WHERE stage = 'select'", True),
        ("INSERT INTO events VALUES (1, 'kind', 'null', 1)", True),
    ],
    ids=["times", "lost rows", "texts", "events"],
)
def test_all_but_times_is_compared(copy, whole, statement, counts):
    number = changed(copy, statement)
    assert number > 0
    problems = differences(TINY, whole, copy)
    assert [int(problem.split()[0]) for problem in problems] == ([number] if counts else [])


def test_of_winners_only_what_was_timed_may_differ(copy, whole):
    winners = copy / "winners.json"
    winners.write_text(winners.read_text().replace('"replicates": 5', '"replicates": 6'))
    assert differences(TINY, whole, copy) == ["winners.json differs"]
    timed_study = TINY._replace(timed_fields=frozenset({"replicates"}))
    assert differences(timed_study, whole, copy) == []


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
    total = asked(whole, "SELECT COUNT(*) FROM trials")[0][0]
    assert found.problems == (f"{len(rows)} of {total} rows differ",)


@pytest.mark.parametrize(
    ("before", "exitcode", "stage"),
    [
        (lambda folder: (folder / "journal.sqlite").unlink(), None, NO_JOURNAL),
        (lambda folder: changed(folder, "DELETE FROM trials"), None, NO_RUN),
        (lambda folder: changed(folder, "DELETE FROM trials WHERE replicate = 1"), None, SOME_RUNS),
        (nothing, None, ALL_RUNS),
        (nothing, 0, ENDED),
    ],
    ids=[NO_JOURNAL, NO_RUN, SOME_RUNS, ALL_RUNS, ENDED],
)
def test_how_far_an_interrupted_study_had_come_is_told(interrupted, before, exitcode, stage):
    assert interrupted(before, nothing, exitcode).stage == stage


def test_a_study_that_ends_by_itself_with_an_error_is_a_problem(interrupted):
    (problem,) = interrupted(nothing, nothing, exitcode=1).problems
    assert problem.startswith("interrupted, it ended with 1")


def test_the_rows_of_a_folder_are_all_those_of_its_journal_and_reading_changes_nothing(whole):
    def files():
        return {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}

    before = files()
    rows = recorded(whole)
    assert files() == before
    expected = asked(whole, "SELECT stage, family, candidate, variant, replicate, score FROM trials")
    places = [("journal.sqlite", "trials", *identity) for *identity, _ in expected]
    assert list(rows) == places
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


@pytest.mark.parametrize(
    "words",
    ["interruptions --moments 0", "interruptions --jobs 0", "soak --runs 5000", "overhead --repeats 0"],
)
def test_options_that_do_not_serve_are_named(words, capsys):
    assert main(words.split()) == 2
    assert f"error: {words.split()[1][2:]}: must be" in capsys.readouterr().out


def test_a_folder_that_holds_something_is_refused(tmp_path, capsys):
    (tmp_path / "study").mkdir()
    assert main(["soak", "--folder", str(tmp_path)]) == 2
    assert "folder: must be new or empty" in capsys.readouterr().out


def test_a_soak_tells_every_chunk_and_what_the_journal_takes(tmp_path):
    with one_process(tmp_path / "compiled") as pool:
        soaked = pool.submit(soak.soak, soak.config(1_000), tmp_path).result()
    study = tmp_path / "study"
    sizes = [size for (size,) in asked(study, "SELECT COUNT(*) FROM trials GROUP BY chunk")]
    assert sizes == [CHUNK] * 4
    assert (soaked.runs, len(soaked.seconds), len(soaked.resident)) == (sum(sizes), 4, 4)
    assert soaked.journal_bytes == (study / "journal.sqlite").stat().st_size
    assert set(soaked.queries) == {"open and verify", "scores()", "rows('screen')", "counts()"}
    ((computing,),) = asked(study, "SELECT SUM(seconds) FROM trials")
    assert soaked.seconds.sum() > computing  # chunks last longer than what is computed in them
    assert (soaked.resident > 50e6).all()


def test_growth_and_slowdown_are_of_what_they_say():
    chunks = 40
    resident = np.full(chunks, 100)
    resident[:19] = 50  # until 4,864 runs
    resident[30] = 104
    seconds = np.full(chunks, 1.0)
    seconds[0] = 99  # compiles
    seconds[-4:] = 1.5, 1.25, 1.25, 9  # the last tenth
    soaked = Soaked(seconds, resident, 1, {})
    assert soaked.growth == pytest.approx(0.04)
    assert soaked.slowdown == pytest.approx(1.375)
    assert [bar.held for bar in soak.bars(soaked)] == [True, False]


@pytest.mark.usefixtures("no_report")
def test_a_study_with_its_journal_in_memory_finds_the_same_and_writes_no_run(tmp_path, small_config):
    (pair,) = overhead.journal_pairs(small_config(), 1, tmp_path)
    written, unwritten = tmp_path / "0", tmp_path / "0 in memory"
    assert asked(written, "SELECT COUNT(*) FROM trials")[0][0] > 0
    assert asked(unwritten, "SELECT COUNT(*) FROM trials") == [(0,)]
    assert (written / "winners.json").read_bytes() == (unwritten / "winners.json").read_bytes()
    for paid in pair:
        assert 0 < paid.journal < paid.study
        assert 0 < paid.runs < paid.study


@pytest.mark.usefixtures("no_report")
def test_every_call_that_writes_is_timed(tmp_path, small_config):
    with timed(overhead.JOURNAL) as paid:
        run(small_config(), tmp_path)
    ((chunks,),) = asked(tmp_path, "SELECT COUNT(*) FROM chunks")
    assert [len(seconds) for seconds in paid] == [1, chunks, 0, 1]
    assert all(seconds > 0 for of in paid for seconds in of)


@pytest.mark.usefixtures("no_report")
def test_every_checkpoint_is_timed(tmp_path, small_config):
    config = small_config(checkpoint_steps=8, rung_replicates=(1,), rung_horizons=(1.0,))
    saves = overhead.checkpoint_seconds(config, tmp_path)
    ((chunks,),) = asked(tmp_path / "checkpointed", "SELECT COUNT(*) FROM chunks")
    assert len(saves) == 2 * chunks  # after steps 8 and 16
    assert all(seconds > 0 for seconds in saves)


def test_a_method_is_watched_until_the_end_of_the_statement():
    class Door:
        def open(self, key):
            if key is None:
                raise KeyError
            return key

    seconds, method = [], Door.open
    with watched(Door, "open", seconds.append):
        assert Door().open(7) == 7
        with pytest.raises(KeyError):
            Door().open(None)
    assert len(seconds) == 2
    assert Door.open is method


def devices_here(setting):
    """In the place of runs per second: how many devices there are, which scales perfectly."""
    return float(jax.device_count())


def test_each_number_of_devices_is_measured_in_a_process_that_has_it(monkeypatch):
    monkeypatch.setattr(scaling, "runs_per_second", devices_here)
    (found,) = scaling.measure(("any",), [1, 2], repeats=3)
    assert found == Scaled("any", {1: [1.0] * 3, 2: [2.0] * 3})
    assert found.efficiencies(2) == [1.0] * 3


def test_efficiency_is_paired_by_repeat():
    scaled = Scaled("any", {1: [10.0, 5.0, 10.0], 4: [40.0, 10.0, 36.0]})
    assert scaled.efficiencies(4) == [1.0, 0.5, 0.9]


def test_what_is_scaled_is_a_setting_of_the_throughput():
    assert set(scaling.ROUNDS) <= {setting.name for setting in SETTINGS}
