"""Faults inside a running study: SIGTERM, a workload that raises, a clock that jumps."""

import io
import itertools
import os
import random
import signal
import sqlite3
import time

import pytest
from rich.console import Console

import workloads
from experiments.shape_search import main, run
from experiments.study.choices import StudyError
from experiments.study.stopping import Stopped, StopRequest
from experiments.study.sweeping import Sweep

CHUNK = 7


@pytest.fixture
def at_call(monkeypatch):
    """(number, action) → `action()` happens in that sweep, counted from 0, before anything is computed."""
    real, numbers = Sweep.__call__, itertools.count()

    def install(number, action):
        def sweep(self, *arguments, **options):
            if next(numbers) == number:
                action()
            return real(self, *arguments, **options)

        monkeypatch.setattr(Sweep, "__call__", sweep)

    return install


def recorded(folder):
    with sqlite3.connect(folder / "journal.sqlite") as connection:
        return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("no_report")
def test_sigterm_ends_after_the_chunk_with_a_message_and_the_same_command_resumes(
    tmp_path, finished, command_options, journal_rows, capsys, at_call
):
    before = signal.getsignal(signal.SIGTERM)
    arguments = [*command_options(), "--folder", str(tmp_path / "study"), "--chunk-runs", str(CHUNK)]
    at_call(4, terminate)
    assert main(arguments) == 128 + signal.SIGTERM
    assert "The same command resumes" in capsys.readouterr().out
    assert 4 * 4 < recorded(tmp_path / "study") <= 5 * CHUNK  # the chunk was ended and recorded
    assert not (tmp_path / "study" / "winners.json").exists()
    assert signal.getsignal(signal.SIGTERM) == before
    assert main(arguments) == 0
    assert journal_rows(tmp_path / "study") == journal_rows(finished.folder)


def test_a_second_sigterm_would_end_the_process():
    with StopRequest() as stop:
        assert not stop.received
        terminate()
        assert stop.received
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("no_report")
def test_a_stopped_python_call_raises_and_leaves_a_folder_that_resumes(
    tmp_path, finished, tiny_config, journal_rows, at_call
):
    at_call(0, terminate)
    with pytest.raises(Stopped):
        run(tiny_config(), tmp_path, chunk_runs=CHUNK)
    run(tiny_config(), tmp_path, chunk_runs=CHUNK)
    assert journal_rows(tmp_path) == journal_rows(finished.folder)


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
