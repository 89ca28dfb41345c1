"""Kills of processes and faults of the disk in a jobs folder, in small, and what is found where they harm."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from experiments.endurance import faults, kills
from experiments.endurance.failing_disk import AFTER, BEFORE, DEATH, KINDS, Fault
from experiments.endurance.faults import Suffered, suffer
from experiments.endurance.jobs import fault_bar, kill_bar
from experiments.endurance.kills import Killed, Killer, Search, differences, kill_all
from experiments.jobs import Jobs, folder, open_jobs, store
from experiments.jobs.creating import create_jobs
from experiments.jobs.store import transaction
from tests.experiments.test_jobs_faults import propose

FAULTS, KILLS = 60, 3
COMMANDS = 9  # before the search, which has nothing left to propose here


def with_all_proposed(path, config):
    """A jobs folder whose search has nothing to compute."""
    made = propose(create_jobs(path, config))
    with transaction(made.record) as opened:
        opened.append("finished")
    return made


@pytest.fixture(autouse=True)
def computes_nothing(monkeypatch):
    for module in (faults, kills):
        monkeypatch.setattr(module, "create_jobs", with_all_proposed)


def told_once_in(steps):
    """The command that tells a value."""
    return next(step for step in steps if "--sem" in step.words)


@pytest.fixture
def told_once(tmp_path):
    return told_once_in(faults.sound_search(tmp_path / "sound"))


@pytest.fixture
def suffered(tmp_path):
    """(a command, a fault in it) → what is found."""
    return lambda step, fault: list(suffer(step, fault, tmp_path / "suffering", tmp_path / "compiled"))


def last_operation(step):
    """The COMMIT of a command that writes no file."""
    return step.operations - 1


def test_whatever_fails_in_a_command_it_ends_as_if_nothing_had(tmp_path):
    found = faults.suffer_all(FAULTS, 0, tmp_path / "faults", tmp_path / "compiled")
    assert [suffering for suffering in found if suffering.problems] == []
    assert {suffering.fault.kind for suffering in found} == set(KINDS)
    assert {suffering.step.words[0] for suffering in found} == {"ask", "tell", "status", "add"}
    assert len({suffering.step.words for suffering in found}) == COMMANDS
    assert len({(suffering.step.before, suffering.fault) for suffering in found}) == FAULTS


def test_an_error_without_a_message_is_found(monkeypatch, told_once, suffered):
    monkeypatch.setattr(store, "explained_errors", contextlib.nullcontext)
    (problem,) = suffered(told_once, Fault(2, BEFORE, "disk full"))
    assert problem == "it ended with 1 and said 'OperationalError: database or disk is full'"


def test_half_a_record_is_found(monkeypatch, tmp_path, suffered):
    tell = Jobs.tell

    def tell_in_two_transactions(opened, trial, value=None, **options):
        tell(opened, trial, 1.0 if value is None else value + 1, step=7, replace=True)
        tell(opened, trial, value, **options)

    monkeypatch.setattr(Jobs, "tell", tell_in_two_transactions)
    step = told_once_in(faults.sound_search(tmp_path / "other"))
    assert "something was half recorded" in suffered(step, Fault(last_operation(step), BEFORE, "I/O error"))


def test_a_command_that_records_twice_is_found(monkeypatch, told_once, suffered):
    fault = Fault(last_operation(told_once), AFTER, "locked")
    assert suffered(told_once, fault) == []
    monkeypatch.setattr(folder, "is_new", lambda *_: True)
    assert suffered(told_once, fault) == ["again, it recorded something else"]


def test_a_process_that_outlives_its_death_is_found(told_once, suffered):
    (problem,) = suffered(told_once, Fault(told_once.operations, BEFORE, DEATH))
    assert problem == "it ended with 0 where it should have died"


def test_searches_whose_processes_are_killed_end_as_without_kills(tmp_path):
    killed = kill_all(KILLS, 3, 0, tmp_path / "kills", tmp_path / "compiled")
    assert killed.problems == ()
    assert sum(killed.killed.values()) >= KILLS
    assert sum(killed.started.values()) > sum(killed.killed.values())
    assert killed.searches >= 1


@pytest.fixture
def whole(tmp_path):
    """A finished search."""
    path = tmp_path / "whole"
    made = with_all_proposed(path, faults.SEARCH)
    while trial := made.ask("a"):
        made.tell(trial.id, 0.5)
    return path


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("statement", "problems"),
    [
        ("DELETE FROM events WHERE number = 9", ["1 of 51 events are missing"]),
        (
            "UPDATE events SET content = replace(content, '0.5', '0.6') WHERE number = 5",
            ["1 of 51 events are missing", "1 events are not expected"],
        ),
        (
            "INSERT INTO events SELECT 99, kind, content, 99 FROM events WHERE number = 4",
            ["1 events are not expected", "{token}-0001 was given out 2 times"],
        ),
    ],
    ids=["lost", "changed", "given out twice"],
)
def test_a_record_that_is_another_is_found(whole, copy, statement, problems):
    assert list(differences(whole, copy)) == []
    token = open_jobs(whole).status().token
    with contextlib.closing(sqlite3.connect(copy / "jobs.sqlite")) as connection, connection:
        connection.execute(statement)
    *counted, chain = differences(whole, copy)
    assert counted == [problem.format(token=token) for problem in problems]
    assert "does not hold what was recorded" in chain


def test_files_of_trials_that_are_others_are_found(whole, copy):
    next((copy / "trials").glob("*-0003.json")).unlink()
    assert list(differences(whole, copy)) == ["the files of its trials differ"]


def test_what_was_reported_and_did_not_stay_is_found(copy, tmp_path):
    search, token = Search(copy, Killer(0, 0), tmp_path), open_jobs(copy).status().token
    search._look([f"{token}-0001"])
    assert search.problems == []
    with contextlib.closing(sqlite3.connect(copy / "jobs.sqlite")) as connection, connection:
        connection.execute("DELETE FROM events WHERE kind = 'told' AND content LIKE '%-0001%'")
    search._look([f"{token}-0001"])
    assert search.problems == [
        "what was recorded did not stay",
        f"{token}-0001 was reported as told, and lost",
    ]


def test_the_bars_say_what_held(told_once):
    fault = Fault(3, AFTER, "locked")
    assert fault_bar([Suffered(told_once, fault, ())]).held
    failed = fault_bar([Suffered(told_once, fault, ()), Suffered(told_once, fault, ("it is half there",))])
    assert not failed.held
    assert failed.measured.startswith("1 of 2\n")
    assert "locked after operation 3 of tell" in failed.measured
    assert "it is half there" in failed.measured
    assert kill_bar(Killed(2, {}, {"asker": 3}, ()))[1:] == ("2 searches with 3 kills", True)
    assert not kill_bar(Killed(2, {}, {"asker": 3}, ("one is lost",))).held
