"""Faults inside a running study: a workload that raises, a clock that jumps, a folder in use."""

import io
import os
import random
import sqlite3
import time

import pytest
from rich.console import Console

import workloads
from experiments.shape_search import run
from experiments.study.choices import StudyError

CHUNK = 7


def recorded(folder):
    with sqlite3.connect(folder / "journal.sqlite") as connection:
        return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]


@pytest.mark.usefixtures("no_report")
def test_a_workload_that_raises_loses_nothing_and_says_where(
    tmp_path, finished, tiny_config, journal_rows, at_call
):
    def fail():
        raise ZeroDivisionError("a bug of the workload")

    at_call(3, fail)
    with pytest.raises(ZeroDivisionError) as error:
        run(tiny_config(), tmp_path, chunk_runs=CHUNK)
    (note,) = error.value.__notes__
    assert "the stage 'screen'" in note
    assert "resumes" in note
    kept = journal_rows(tmp_path)
    assert kept
    assert kept.items() <= journal_rows(finished.folder).items()
    run(tiny_config(), tmp_path, chunk_runs=CHUNK)  # the folder is not locked
    assert journal_rows(tmp_path) == journal_rows(finished.folder)


@pytest.mark.usefixtures("no_report")
def test_a_workload_whose_loss_cannot_be_traced_ends_before_anything_is_recorded(tmp_path, tiny_config):
    def loss(params, batch, key):
        raise RuntimeError("no such layer")

    workload = workloads.load("linear_regression", dimension=8)._replace(loss=loss)
    with pytest.raises(RuntimeError, match="no such layer"):
        run(tiny_config(), tmp_path, workload)
    assert recorded(tmp_path) == 0


@pytest.mark.usefixtures("no_report")
def test_a_clock_that_jumps_changes_nothing(tmp_path, finished, tiny_config, journal_rows, monkeypatch):
    jumps = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: jumps.choice([-1e9, 0.0, 1.8e9, 1e12]))
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)  # as coarse as a clock can be
    run(tiny_config(), tmp_path, chunk_runs=CHUNK, console=Console(file=io.StringIO()))
    assert journal_rows(tmp_path) == journal_rows(finished.folder)


@pytest.mark.usefixtures("no_report", "no_training")
def test_a_study_in_use_is_refused_to_another_process_s_call(tmp_path, tiny_config, at_call, monkeypatch):
    from experiments.study.lock import locked

    with locked(tmp_path), pytest.raises(StudyError, match=rf"process {os.getpid()} on"):
        run(tiny_config(), tmp_path)
    assert not (tmp_path / "config.json").exists()
