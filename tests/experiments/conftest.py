"""What the tests of the studies share: a tiny study, a finished one, and a reader of journals.

The journal is read here with sqlite3 and by column name alone, so that nothing passes through the code under
test.
"""

import contextlib
import functools
import importlib
import inspect
import itertools
import json
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from tyro._parsers import ParserSpecification

import workloads
from experiments.endurance.apart import STUDIES
from experiments.shape_search import STUDY, Config
from experiments.studies import load
from experiments.study import command
from experiments.study import study as study_module
from experiments.study.options import workload_config
from experiments.study.running.sweeping import Sweep
from experiments.study.study import Study
from schedules.search import curve_functions
from tests.experiments import toy_study
from tests.experiments.journals import runs_of
from tests.experiments.small_study import call, painting
from workloads import LongSweep

TINY = {
    "workload": "linear_regression",
    "workload_options": {"dimension": 8},
    "optimizer": "sgd",
    "batch_size": 4,
    "num_steps": 20,
    "learning_rates": (0.1, 4.0),
    "strategy": "trust_region",
    "families": ("rex", "two_point_linear"),
    "candidates": 10,
    "batch": 4,
    "rung_replicates": (2, 3),
    "rung_horizons": (0.5, 1.0),
    "top": 2,
    "select_replicates": 3,
    "confirm_replicates": 5,
    "confidence": 0.9,  # which five seeds can have
    "checked": 0,
}


@pytest.fixture(autouse=True, scope="session")
def unpainted():
    """Figures are made but neither laid out nor painted, which takes longer than all else of a tiny study:
    their files hold the points of their lines."""

    def save(figure, file, **options):
        lines = [line for axes in figure.axes for line in (*axes.lines, *axes.collections)]
        points = [getattr(line, "get_xydata", getattr(line, "get_offsets", None))() for line in lines]
        file.write(repr([np.asarray(part).tolist() for part in points]).encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda engine, figure: None)
        patch.setattr(Figure, "savefig", save)
        yield


@pytest.fixture(autouse=True, scope="session")
def sources():
    """Are found once: for that of a class Python before 3.13 parses its whole file, and every command line
    asks for those of its options."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspect, "findsource", functools.cache(inspect.findsource))
        yield


@contextlib.contextmanager
def remembering(*functions):
    """(owner, name, key) → that function is called once for all arguments of the same key."""

    def once(function, key):
        results = {}

        def remembered(*arguments, **options):
            words = key(*arguments, **options)
            if words not in results:
                results[words] = function(*arguments, **options)
            return results[words]

        return remembered

    with pytest.MonkeyPatch.context() as patch:
        for owner, name, key in functions:
            patch.setattr(owner, name, once(getattr(owner, name), key))
        yield


@pytest.fixture(autouse=True, scope="session")
def parsers():
    """Are made once for the options that command lines start from: it takes longer than all else of them."""
    with remembering(
        (command, "option_groups", lambda config: (type(config), repr(config))),
        (command, "_options_class", lambda groups, *others: (*map(type, groups.values()), repr(others))),
        (ParserSpecification, "from_callable_or_type", lambda kind, **options: (kind, repr(options))),
    ):
        yield


@pytest.fixture(scope="module")
def loaded():
    """Workloads are loaded and looked at once, where tests only ask what is wrong with options."""
    with remembering(
        (workloads, "load", lambda name, **options: (name, repr(options))),
        (workloads, "contract_problems", lambda workload, size: (workload[1:], size)),
        (workloads, "metric_names", lambda workload: workload[1:]),
        (workload_config, "batch_problems", lambda field, size, workload: (field, size, workload.indices)),
    ):
        yield


@pytest.fixture
def painted():
    """The figures are looked at."""
    with painting():
        yield


class Finished(NamedTuple):
    """A study in its small form, run to its end on the command line."""

    study: Study
    folder: Path
    words: list[str]
    output: str


@pytest.fixture(scope="session")
def finished_studies(tmp_path_factory):
    """(name of a small form) → that study, run once for all tests that only read it.

    They are of the group that has the form's name, and all marked `bits` or none: it is run in one session,
    by one worker.
    """

    @functools.cache
    def finish(name):
        small = STUDIES.get(name)
        study, words = (load(small.study), small.words.split()) if small else (toy_study.STUDY, [])
        folder = tmp_path_factory.mktemp(name) / "study"
        with painting():
            status, output = call(study.main, *words, "--folder", folder)
        assert status == 0, output
        return Finished(study, folder, words, output)

    return finish


@pytest.fixture(scope="session")
def tiny_config():
    """(changes) → the config of a study of a second or two."""
    return lambda **changes: Config(**{**TINY, **changes})


@pytest.fixture(scope="session")
def one_rung_config(tiny_config):
    """(changes) → the config of a search of `constant` and cosine at Sobol points, on one rung."""

    def config(**changes):
        small = {"families": ("constant",), "strategy": "sobol", "candidates": 16, "batch": 16}
        rung = {"rung_replicates": (2,), "rung_horizons": (1.0,), "select_replicates": 2}
        return tiny_config(**{**small, **rung, **changes})

    return config


@pytest.fixture(scope="session")
def command_options():
    """(changes) → the same study's options on the command line; a None leaves an option out."""

    def options(**changes):
        words = []
        for name, value in {**TINY, **changes}.items():
            if isinstance(value, dict):
                value = [word for pair in value.items() for word in pair]
            values = value if isinstance(value, tuple | list) else [value]
            if value is not None:
                words += [f"--{name.replace('_', '-')}", *map(str, values)]
        return words

    return options


@pytest.fixture(scope="session")
def finished(tmp_path_factory, command_options):
    """The tiny study, run once for all tests that only read it."""
    folder, words = tmp_path_factory.mktemp("finished") / "study", command_options()
    status, output = call(STUDY.main, *words, "--folder", folder, "--chunk-runs", 64)
    assert status == 0, output
    return Finished(STUDY, folder, tuple(words), output)


@pytest.fixture
def study_copy(finished, tmp_path):
    """A copy of the finished study, to do anything with."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copy"))


@pytest.fixture
def no_report(monkeypatch):
    """Leave out the figures, where a test is about scores."""
    monkeypatch.setattr(study_module, "write_report", lambda *arguments: None)


@pytest.fixture
def rough_bounds(monkeypatch):
    """The bound of a verdict is searched under few functions and in few steps, where a test does not look at
    it."""
    monkeypatch.setattr(curve_functions, "DRAWN", 2)
    monkeypatch.setattr(importlib.import_module("schedules.search.challenge"), "DEEPENED", 2)


@pytest.fixture
def listening():
    """To SIGINT, as Python does when it starts, and the processes that it starts: whoever runs the tests may
    ignore it."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.fixture
def at_call(monkeypatch):
    """(number, action) → `action()` happens in that sweep, counted from 0, before anything is computed."""
    real, numbers = Sweep._computed, itertools.count()

    def install(number, action):
        def sweep(self, *arguments, **options):
            if next(numbers) == number:
                action()
            return real(self, *arguments, **options)

        monkeypatch.setattr(Sweep, "_computed", sweep)

    return install


@pytest.fixture
def no_training(monkeypatch):
    """Any attempt to train fails the test."""

    def train(*arguments, **options):
        pytest.fail("a run was trained")

    monkeypatch.setattr(LongSweep, "whole", train)
    monkeypatch.setattr(LongSweep, "begin", train)


@pytest.fixture(scope="session")
def journal_rows():
    """folder → {(stage, group, number, label, replicate): all columns but the time and the chunk}.

    A label that tells the number of steps is that number.
    """

    names = ("stage", "group", "number", "label", "replicate")

    def read(folder):
        rows = {}
        for row in runs_of(folder):
            del row["seconds"], row["chunk"]
            stage, family, candidate, label, replicate = (row.pop(name) for name in names)
            rows[stage, family, candidate, label.get("num_steps", json.dumps(label)), replicate] = row
        assert len(rows) == len(runs_of(folder))
        return rows

    return read
