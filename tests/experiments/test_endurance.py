"""Soak, overhead and scaling: what they report, against journals read here and numbers made up for it."""

import jax
import numpy as np
import pytest

from experiments.endurance import main, overhead, scaling, soak
from experiments.endurance.apart import STUDIES, one_process
from experiments.endurance.measuring import watched
from experiments.endurance.overhead import timed
from experiments.endurance.scaling import Scaled
from experiments.endurance.soak import CHUNK, Soaked
from experiments.shape_search import STUDY
from experiments.studies import QUESTIONS
from experiments.throughput.training import SETTINGS
from tests.experiments.journals import asked


@pytest.fixture
def small_config(tiny_config):
    """(changes) → the config of a search of one family with few runs."""
    small = {"families": ("constant",), "strategy": "random", "candidates": 4, "select_replicates": 1}
    return lambda **changes: tiny_config(**{**small, **changes})


def test_every_study_has_a_small_one():
    assert {study.study for study in STUDIES.values()} == set(QUESTIONS)


@pytest.mark.parametrize(
    "words",
    [
        "interruptions --moments 0",
        "interruptions --jobs 0",
        "jobs --kills 0",
        "jobs --faults 0",
        "soak --runs 5000",
        "overhead --repeats 0",
    ],
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
    resident[30] = 106
    grown = Soaked(np.ones(chunks), resident, 1, {})
    assert [bar.held for bar in soak.bars(grown)] == [False, True]


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
        STUDY.run(small_config(), tmp_path)
    ((chunks, events),) = asked(
        tmp_path, "SELECT (SELECT COUNT(*) FROM chunks), (SELECT COUNT(*) FROM events)"
    )
    assert [len(seconds) for seconds in paid] == [1, chunks - events, events, 1]
    assert all(seconds > 0 for calls in paid for seconds in calls)


@pytest.mark.usefixtures("no_report")
def test_every_checkpoint_is_timed(tmp_path, small_config):
    config = small_config(rung_replicates=(1,), rung_horizons=(1.0,))
    saves = overhead.checkpoint_seconds(config, {"checkpoint_steps": 8, "checkpoint_seconds": 0}, tmp_path)
    ((chunks,),) = asked(tmp_path / "checkpointed", "SELECT COUNT(DISTINCT chunk) FROM trials")
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
