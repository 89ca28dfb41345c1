"""Runs that are saved on the way: left at any point, taken up again anywhere, with the same bits."""

import io
import json
import os
import signal

import pytest
from rich.console import Console

from experiments.adaptive_batch_size import runs as adaptive_batch_size
from experiments.shape_search import main
from experiments.studies import load
from experiments.study.running.stopping import Stopped
from tests.experiments.journals import asked
from tests.experiments.small_study import config_of
from workloads import LongSweep

pytestmark = pytest.mark.usefixtures("no_report")
RUNG = {"rung_replicates": (2,), "rung_horizons": (1.0,)}
SAVED = {"families": ("constant",), "strategy": "sobol", "candidates": 8, "batch": 8, **RUNG}
STEPS = ("--checkpoint-steps", "6")  # of 20: after 6, 12 and 18
SEGMENTS = 4
COMPARISON = (
    "--workload linear_regression --workload-options dimension 8 --optimizers adamw --batch-size 4"
    " --num-steps 24 --more-rates 0 --decays 0 --confirm-replicates 3 --curve-points 2"
)


@pytest.fixture(scope="module")
def words(command_options):
    return [*command_options(**SAVED), *STEPS]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, command_options, journal_rows):
    """The rows of the study whose runs are never saved, and its winners."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    assert main([*command_options(**SAVED), "--folder", str(folder)]) == 0
    return journal_rows(folder), (folder / "winners.json").read_bytes()


@pytest.fixture
def segments(monkeypatch):
    """The number of steps that each segment ended with; `at(number, action)` acts after that segment."""
    real, ends, actions = LongSweep.advance, [], {}

    def advance(self, state, until):
        state = real(self, state, until)
        ends.append(until)
        actions.get(len(ends), lambda: None)()
        return state

    monkeypatch.setattr(LongSweep, "advance", advance)
    return ends, actions


class Killed(BaseException):
    """Ends a study as a kill does, without any word to it."""


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def same(folder, uninterrupted, journal_rows):
    rows, winners = uninterrupted
    return journal_rows(folder) == rows and (folder / "winners.json").read_bytes() == winners


@pytest.mark.bits
def test_saving_changes_no_bit(tmp_path, words, uninterrupted, journal_rows, segments):
    assert main([*words, "--folder", str(tmp_path / "study")]) == 0
    assert segments[0][: SEGMENTS + 1] == [6, 12, 18, 20, 6]
    assert same(tmp_path / "study", uninterrupted, journal_rows)


@pytest.mark.bits
@pytest.mark.parametrize(
    ("devices", "saving", "segments_after"),
    [
        (2, STEPS, [18, 20, 6]),
        (8, STEPS, [18, 20, 6]),
        (8, ("--checkpoint-steps", "7"), [19, 20, 7]),
        (8, (), [20]),
    ],
)
def test_a_run_that_sigterm_left_goes_on_where_it_was_on_several_devices(
    tmp_path, command_options, uninterrupted, journal_rows, segments, capsys, devices, saving, segments_after
):
    ends, actions = segments
    actions[2 * SEGMENTS + 2] = terminate  # in the third group of runs, after the second segment
    arguments = [*command_options(**SAVED), "--folder", str(tmp_path / "study")]
    assert main([*arguments, *STEPS, "--devices", "2"]) == 128 + signal.SIGTERM
    assert ends == [6, 12, 18, 20, 6, 12, 18, 20, 6, 12]
    assert len(journal_rows(tmp_path / "study")) == 4  # two groups of two
    ends.clear()
    actions.clear()
    assert main([*arguments, *saving, "--devices", str(devices)]) == 0
    assert ends[:3] == segments_after
    assert "Going on after step 12 of 20" in capsys.readouterr().out
    assert same(tmp_path / "study", uninterrupted, journal_rows)


def test_a_killed_run_goes_on_from_its_last_checkpoint(
    tmp_path, words, uninterrupted, journal_rows, segments
):
    ends, actions = segments
    arguments = [*words, "--folder", str(tmp_path / "study"), "--checkpoint-seconds", "0"]
    actions |= {3: kill, 5: kill, 12: kill}  # in the first group of runs, at its end, and in the third
    starts = []
    for _ in range(3):
        with pytest.raises(Killed):
            main(arguments)
        starts.append(len(ends))
    assert main(arguments) == 0
    begun = [ends[start] for start in [0, *starts]]
    assert begun == [6, 18, 20, 12]
    assert same(tmp_path / "study", uninterrupted, journal_rows)


def test_a_damaged_checkpoint_is_named_and_costs_only_its_runs(
    tmp_path, words, uninterrupted, journal_rows, segments, capsys
):
    ends, actions = segments
    arguments = [*words, "--folder", str(tmp_path / "study"), "--checkpoint-seconds", "0"]
    actions[3] = kill
    with pytest.raises(Killed):
        main(arguments)
    files = [path for path in (tmp_path / "study" / "checkpoints").rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    ends.clear()
    actions.clear()
    assert main(arguments) == 0
    assert ends[0] == 6
    printed = capsys.readouterr().out
    assert "checkpoints" in printed
    assert "is damaged" in printed
    assert same(tmp_path / "study", uninterrupted, journal_rows)


def left_and_gone_on_with(study, config, steps, folder, devices=None):
    """Run a study that SIGTERM stops, then again to its end; returns what it says then."""
    with pytest.raises(Stopped):
        study.run(config, folder, devices=devices, checkpoint_steps=steps)
    printed = io.StringIO()
    study.run(config, folder, devices=devices, checkpoint_steps=steps, console=Console(file=printed))
    return printed.getvalue()


@pytest.mark.xdist_group("adaptive_batch_size")
def test_a_batch_that_grew_goes_on_growing(tmp_path, finished_studies, journal_rows, segments, monkeypatch):
    study, whole, *_ = finished_studies("adaptive_batch_size")
    ((timings,),) = asked(whole, "SELECT content FROM events WHERE kind = 'timings'")
    monkeypatch.setattr(adaptive_batch_size, "measured_timings", lambda *_: json.loads(timings))
    ends, actions = segments
    actions[41] = terminate  # of 54, the last third of which grow by the optimizer's own noise
    printed = left_and_gone_on_with(study, config_of("adaptive_batch_size"), 70, tmp_path / "left")
    assert ends[40:43] == [140, 192, 70]
    assert "Going on after step 140 of 192" in printed
    rows = journal_rows(tmp_path / "left")
    assert rows == journal_rows(whole)
    grown = [row["metrics"]["batch_size"] for row in rows.values() if "batch_size" in row["metrics"]]
    assert max(grown) > 8


@pytest.mark.xdist_group("loss_prediction")
def test_a_prediction_is_saved_too(tmp_path, finished_studies, journal_rows, segments):
    study, whole, *_ = finished_studies("loss_prediction")
    ends, actions = segments
    actions[5] = terminate
    printed = left_and_gone_on_with(study, config_of("loss_prediction"), 10, tmp_path / "left")
    assert ends[:7] == [10, 20, 24, 10, 20, 24, 10]
    assert "Going on after step 20 of 24" in printed
    assert journal_rows(tmp_path / "left") == journal_rows(whole)


def test_a_comparison_is_saved_too(tmp_path, journal_rows, segments):
    study, (ends, actions) = load("optimizer_comparison"), segments
    config = config_of("optimizer_comparison", COMPARISON)
    study.run(config, tmp_path / "whole", devices=3)
    assert ends == []
    actions[5] = terminate
    printed = left_and_gone_on_with(study, config, 10, tmp_path / "left", devices=3)
    assert ends[:7] == [10, 20, 24, 10, 20, 24, 10]
    assert "Going on after step 20 of 24" in printed
    assert journal_rows(tmp_path / "left") == journal_rows(tmp_path / "whole")
