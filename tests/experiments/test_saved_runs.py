"""Runs that are saved on the way: left at any point, taken up again anywhere, with the same bits."""

import importlib
import os
import signal

import pytest

from experiments import adaptive_batch_size
from experiments.shape_search import main
from workloads import LongSweep

pytestmark = pytest.mark.usefixtures("no_report")
SAVED = {
    "families": ("constant",),
    "strategy": "sobol",
    "candidates": 8,
    "batch": 8,
    "rung_replicates": (2,),
    "rung_horizons": (1.0,),
    "checkpoint_steps": 6,
}  # of 20 steps: after 6, 12 and 18
SEGMENTS = 4
OTHERS = {  # of 24 steps: after 10, 20 and 24
    "optimizer_comparison": "--workload linear_regression --workload-options dimension 8 --optimizers signum"
    " --num-steps 24 --batch-size 4 --first-rates 3 --more-rates 0 --decays 0 --screen-replicates 2"
    " --confirm-replicates 3 --curve-points 2",
    "loss_prediction": "--workload-options dimension 8 --batch-size 4 --num-steps 24 --largest-rate 1"
    " --smallest-share 0.3 --curve-points 6 --fit-replicates 6 --families rex wsd --shapes 6"
    " --choose-replicates 4 --score-replicates 4 --best-fraction 0.4 --confirm-replicates 5",
}
ADAPTIVE = (
    "--workload linear_regression --workload-options dimension 64 --metric train_loss --optimizers signum"
    " --small-batch 8 --large-batch 32 --parts 2 --samples 192 --curve-points 3 --measure-every 2"
    " --first-rates 3 --more-rates 0 --screen-replicates 1 --confirm-replicates 3 --timing-repeats 1"
    " --devices 3"
)


@pytest.fixture(scope="module")
def words(command_options):
    return command_options(**SAVED)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, words, journal_rows):
    """The rows of the study, and its winners."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "study"
    assert main([*words, "--folder", str(folder)]) == 0
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


def test_saving_changes_no_bit(tmp_path, words, command_options, uninterrupted, journal_rows, segments):
    in_one = command_options(**{**SAVED, "checkpoint_steps": 0})
    assert main([*in_one, "--folder", str(tmp_path / "study")]) == 0
    assert segments[0] == []
    assert same(tmp_path / "study", uninterrupted, journal_rows)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_a_run_that_sigterm_left_goes_on_where_it_was_on_any_devices(
    tmp_path, words, uninterrupted, journal_rows, segments, capsys, devices
):
    ends, actions = segments
    actions[2 * SEGMENTS + 2] = terminate  # in the third group of runs, after the second segment
    arguments = [*words, "--folder", str(tmp_path / "study")]
    assert main([*arguments, "--devices", "2"]) == 128 + signal.SIGTERM
    assert ends == [6, 12, 18, 20, 6, 12, 18, 20, 6, 12]
    assert len(journal_rows(tmp_path / "study")) == 4  # two groups of two
    ends.clear()
    actions.clear()
    assert main([*arguments, "--devices", str(devices)]) == 0
    assert ends[:3] == [18, 20, 6]
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


def test_a_batch_that_grew_goes_on_growing(tmp_path, journal_rows, segments, capsys, monkeypatch):
    monkeypatch.setattr("experiments.adaptive_batch_size.study.write_report", lambda results, folder: None)
    whole, left = tmp_path / "whole", tmp_path / "left"
    arguments = [*ADAPTIVE.split(), "--checkpoint-steps", "7", "--folder"]  # of 24 micro-batches
    assert adaptive_batch_size.main([*arguments, str(whole)]) == 0
    ends, actions = segments
    third_growing = [place for place, until in enumerate(ends, start=1) if until == 14][-3]
    ends.clear()
    actions[third_growing] = terminate
    assert adaptive_batch_size.main([*arguments, str(left)]) == 128 + signal.SIGTERM
    ends.clear()
    actions.clear()
    assert adaptive_batch_size.main([*arguments, str(left)]) == 0
    assert ends[:2] == [21, 24]
    assert "Going on after step 14 of 24" in capsys.readouterr().out
    rows = journal_rows(left)
    assert rows == journal_rows(whole)
    grown = [row["metrics"]["batch_size"] for row in rows.values() if "batch_size" in row["metrics"]]
    assert max(grown) > 8


@pytest.mark.parametrize("package", OTHERS)
def test_other_studies_are_saved_too(tmp_path, package, journal_rows, segments, capsys, monkeypatch):
    study = importlib.import_module(f"experiments.{package}.command")
    monkeypatch.setattr(f"{study.run.__module__}.write_report", lambda results, folder: None)
    whole, left = tmp_path / "whole", tmp_path / "left"
    arguments = [*OTHERS[package].split(), "--devices", "2", "--folder"]
    assert study.main([*arguments, str(whole)]) == 0
    ends, actions = segments
    assert ends == []
    arguments = ["--checkpoint-steps", "10", *arguments, str(left)]
    actions[5] = terminate
    assert study.main(arguments) == 128 + signal.SIGTERM
    assert ends == [10, 20, 24, 10, 20]
    assert study.main(arguments) == 0
    assert ends[5:7] == [24, 10]
    assert "Going on after step 20 of 24" in capsys.readouterr().out
    assert journal_rows(left) == journal_rows(whole)
