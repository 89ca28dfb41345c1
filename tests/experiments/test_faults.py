"""Faults inside a running study: a workload that raises, a clock that jumps, a folder in use."""

import contextlib
import io
import os
import random
import shutil
import sqlite3
import time

import pytest
from rich.console import Console

import workloads
from experiments.shape_search import STUDY, main
from experiments.study.options.errors import StudyError
from experiments.study.showing.findings import Findings

pytestmark = pytest.mark.xdist_group("finished")

CHUNK = 7


def recorded(folder):
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        return connection.execute("SELECT COUNT(*) FROM trials").fetchone()[0]


@pytest.mark.usefixtures("no_report")
def test_a_workload_that_raises_loses_nothing_and_says_where(
    tmp_path, finished, tiny_config, journal_rows, at_call
):
    def fail():
        raise ZeroDivisionError("a bug of the workload")

    at_call(3, fail)
    with pytest.raises(ZeroDivisionError) as error:
        STUDY.run(tiny_config(), tmp_path, chunk_runs=CHUNK)
    (note,) = error.value.__notes__
    assert "the stage 'screen'" in note
    assert "resumes" in note
    kept = journal_rows(tmp_path)
    assert kept
    assert kept.items() <= journal_rows(finished.folder).items()
    STUDY.run(tiny_config(), tmp_path, chunk_runs=CHUNK)  # the folder is not locked
    assert journal_rows(tmp_path) == journal_rows(finished.folder)


@pytest.mark.usefixtures("no_report")
def test_a_workload_whose_loss_cannot_be_traced_ends_before_anything_is_recorded(tmp_path, tiny_config):
    def loss(params, batch, key):
        raise RuntimeError("no such layer")

    workload = workloads.load("linear_regression", dimension=8)._replace(loss=loss)
    with pytest.raises(StudyError, match="workload: loss: RuntimeError: no such layer"):
        STUDY.run(tiny_config(), tmp_path / "study", workload)
    assert not (tmp_path / "study").exists()


@pytest.mark.usefixtures("no_report")
def test_a_clock_that_jumps_changes_nothing(tmp_path, finished, tiny_config, journal_rows, monkeypatch):
    jumps = random.Random(0)
    monkeypatch.setattr(time, "time", lambda: jumps.choice([-1e9, 0.0, 1.8e9, 1e12]))
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)  # as coarse as a clock can be
    STUDY.run(tiny_config(), tmp_path, chunk_runs=64, console=Console(file=io.StringIO()))
    assert journal_rows(tmp_path) == journal_rows(finished.folder)


@pytest.mark.usefixtures("no_report", "no_training")
def test_a_study_in_use_is_refused_to_another_process_s_call(tmp_path, tiny_config, at_call, monkeypatch):
    from experiments.study.storage.folder import locked

    with locked(tmp_path), pytest.raises(StudyError, match=rf"process {os.getpid()} on"):
        STUDY.run(tiny_config(), tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("gone", ["deleted", "journal deleted", "moved", "made again"])
def test_a_folder_that_goes_away_during_a_run_is_said_to_be_lost_and_left_alone(
    tmp_path, command_options, capsys, at_call, gone
):
    folder = tmp_path / "study"

    def remove():
        if gone == "journal deleted":
            (folder / "journal.sqlite").unlink()
        else:
            folder.rename(tmp_path / "elsewhere")
        if gone == "deleted":
            shutil.rmtree(tmp_path / "elsewhere")
        if gone == "made again":
            shutil.copytree(tmp_path / "elsewhere", folder)

    at_call(2, remove)
    assert main([*command_options(), "--folder", str(folder), "--chunk-runs", str(CHUNK)]) == 2
    (message,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error:")]
    assert "was deleted or moved" in message
    assert "what was recorded is lost" in message
    assert "is kept" not in message
    assert folder.exists() == (gone in ("journal deleted", "made again"))
    assert not (folder / "winners.json").exists()


@pytest.mark.usefixtures("no_training")
def test_a_folder_that_goes_away_before_its_results_are_written_is_not_made_again(
    study_copy, tiny_config, monkeypatch
):
    json_of = Findings.json
    monkeypatch.setattr(Findings, "json", lambda findings: shutil.rmtree(study_copy) or json_of(findings))
    with pytest.raises(StudyError, match=r"winners\.json cannot be written: No such file or directory"):
        STUDY.run(tiny_config(), study_copy)
    assert not study_copy.exists()
