"""A jobs folder with two curves a trial, one a group of parameters."""

import json
import math

import numpy as np
import pytest

import schedules
from experiments.__main__ import main
from experiments.jobs.config import JobsConfig
from experiments.jobs.creating import create_jobs
from experiments.study.options.errors import StudyError
from tests.experiments.test_export import csv_columns
from tests.experiments.test_jobs import config
from tests.experiments.test_jobs_telling import events, write

pytestmark = pytest.mark.usefixtures("rough_bounds")
GROUPS = ("matrices", "aux")
STEPS = 20
LINEAR = ["--family", "linear", "--params", "warmup=0.1"]


def score(trial):
    """Best at a peak rate of 0.2 of the matrices and of 0.02 of the others."""
    peaks = [trial.learning_rates[name].max() for name in GROUPS]
    luck = np.random.default_rng(trial.seed).normal()
    return math.exp(np.sum(np.log(np.array(peaks) / [0.2, 0.02]) ** 2) + 0.05 * luck)


@pytest.fixture
def jobs(tmp_path):
    return create_jobs(tmp_path / "jobs", config(runs=24, groups=GROUPS))


def run(*words):
    return main([str(word) for word in words])


def test_the_file_of_a_trial_has_a_table_a_group_whose_ratio_is_a_parameter(jobs, capsys):
    assert run("ask", jobs.path) == 0
    line = capsys.readouterr().out
    trial = json.loads(line)
    assert (jobs.path / "trials" / f"{trial['id']}.json").read_text() == line
    ratio, shape = np.float32(trial["params"].pop("ratio")), schedules.FAMILIES[trial["family"]]
    assert 0.01 <= ratio <= 100
    first, second = (np.float32(trial["multipliers"][name]) for name in GROUPS)
    assert np.array_equal(first, shape.multipliers(trial["params"], STEPS))
    assert np.array_equal(second, ratio * first)
    for name, multipliers in zip(GROUPS, (first, second), strict=True):
        rates = np.float32(trial["base_lr"]) * multipliers
        assert np.array_equal(np.float32(trial["learning_rates"][name]), rates)


def test_long_tables_lie_beside_the_file_each_named_after_its_group(tmp_path, capsys):
    options = {"learning_rates": (0.01, 1.0), "families": ("linear",), "runs": 24, "groups": GROUPS}
    jobs = create_jobs(tmp_path / "jobs", JobsConfig(num_steps=10_001, **options))
    assert run("ask", jobs.path) == 0
    trial = json.loads(capsys.readouterr().out)
    first, second = (np.load(jobs.path / "trials" / trial["multipliers"][name]) for name in GROUPS)
    assert first.shape == (10_001,)
    assert np.array_equal(second, np.float32(trial["params"]["ratio"]) * first)
    assert len({*trial["multipliers"].values(), *trial["learning_rates"].values()}) == 4


def test_a_search_ends_with_a_winner_that_is_loaded_and_exported_by_its_group(jobs, capsys):
    while trial := jobs.ask("a"):
        jobs.tell(trial.id, score(trial))
    assert run("report", jobs.path) == 0
    assert "aux / matrices" in (jobs.path / "report.html").read_text()
    confirmed = next(trial for trial in jobs.status().trials.values() if trial.stage == "confirm")
    params, ratio = dict(confirmed.params), confirmed.params["ratio"]
    winners = [schedules.load_winner(jobs.path / "winners.json", group=name) for name in GROUPS]
    assert [winner.base_lr for winner in winners] == [confirmed.base_lr, ratio * confirmed.base_lr]
    assert all({**winner.params, "ratio": ratio} == params for winner in winners)
    with pytest.raises(ValueError, match=r"one of its groups \(matrices, aux\), got None"):
        schedules.load_winner(jobs.path / "winners.json")
    capsys.readouterr()
    tables = []
    for name in GROUPS:
        assert run("export", jobs.path, "--as", "csv", "--group", name) == 0
        tables.append(csv_columns(capsys.readouterr().out)[2])
    assert np.allclose(tables[1], ratio * tables[0], rtol=1e-6)
    assert run("export", jobs.path, "--as", "csv") == 2
    assert "matrices, aux" in " ".join(capsys.readouterr().out.split())


def test_a_shape_and_a_schedule_of_ones_own_are_added_with_their_ratio(jobs, tmp_path, capsys):
    path = write(tmp_path / "own.csv", "learning_rate", [(0.05 + 0.01 * step,) for step in range(STEPS)])
    assert run("add", jobs.path, *LINEAR, "ratio=0.5", "--base-lr", "0.3") == 0
    assert run("add", jobs.path, "--schedule", path, "--params", "ratio=2") == 0
    shape, own = (jobs.status().trials[line.split()[0]] for line in capsys.readouterr().out.splitlines())
    asked = {trial.id: trial for trial in jobs.ask_several(2)}
    assert asked[shape.id].params == {"warmup": 0.1, "ratio": 0.5}
    rates = asked[own.id].learning_rates
    assert np.allclose(rates["matrices"], 0.05 + 0.01 * np.arange(STEPS), rtol=1e-6)
    assert np.allclose(rates["aux"], 2 * rates["matrices"], rtol=1e-6)


@pytest.fixture
def own_shapes(tmp_path):
    return create_jobs(tmp_path / "own_shapes", config(runs=24, groups=GROUPS, shapes="own"))


def test_each_group_has_a_table_and_a_winner_of_its_own_shape(own_shapes):
    while trial := own_shapes.ask("a"):
        own_shapes.tell(trial.id, score(trial))
    assert run("report", own_shapes.path) == 0
    confirmed = next(trial for trial in own_shapes.status().trials.values() if trial.stage == "confirm")
    names = schedules.FAMILIES[confirmed.family].space
    first, second = ({name: confirmed.params[prefix + name] for name in names} for prefix in ("", "second_"))
    assert first != second
    rates = (confirmed.base_lr, confirmed.params["ratio"] * confirmed.base_lr)
    for group, params, base_lr in zip(GROUPS, (first, second), rates, strict=True):
        winner = schedules.load_winner(own_shapes.path / "winners.json", group=group)
        assert (winner.params, winner.base_lr) == (params, base_lr)


def test_a_schedule_of_ones_own_has_a_power_for_each_group(own_shapes, tmp_path):
    path = write(tmp_path / "own.csv", "learning_rate", [(0.1 - 0.004 * step,) for step in range(STEPS)])
    words = ["ratio=2", "exponent=0.5"]
    assert run("add", own_shapes.path, "--schedule", path, "--params", *words) == 0
    rates = own_shapes.ask().learning_rates
    falling = 1 - 0.04 * np.arange(STEPS)
    assert np.allclose(rates["matrices"], 0.1 * np.sqrt(falling), rtol=1e-5)
    assert np.allclose(rates["aux"], 0.2 * falling, rtol=1e-5)


def test_the_search_learns_the_ratio_from_runs_with_a_column_a_group(jobs, tmp_path):
    """Sixteen of before: the aux rate alone decides, best at a peak of 0.02."""
    peaks, aux = 10 ** np.random.default_rng(0).uniform([[-2], [-4]], [[0], [2]], (2, 16))
    rows = [
        (
            number,
            step,
            first * (1 - step / STEPS),
            second * (1 - step / STEPS),
            np.log(second / 0.02) ** 2 + 0.1,
        )
        for number, (first, second) in enumerate(zip(peaks, aux, strict=True))
        for step in range(STEPS)
    ]
    path = write(tmp_path / "runs.csv", "run,step,lr-0,lr-1,loss", rows)
    assert run("import", jobs.path, path, "--rate", "lr-0", "lr-1") == 0
    asked = [trial.learning_rates["aux"].max() for trial in jobs.ask_several(8)]
    assert np.median(np.abs(np.log(np.array(asked) / 0.02))) < 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["add", "{folder}", *LINEAR, "--base-lr", "0.1"], "missing parameter 'ratio' in (0, inf)"),
        (["add", "{folder}", *LINEAR, "ratio=-1", "--base-lr", "0.1"], "ratio must be in (0, inf), got -1"),
        (["add", "{folder}", "--schedule", "{csv}"], "missing parameter 'ratio'"),
        (["import", "{folder}", "{csv}"], "rate: must be a column for each of matrices and aux, got none"),
        (["import", "{folder}", "{csv}", "--rate", "lr"], "a column for each of matrices and aux, got lr"),
        (["import", "{folder}", "{csv}", "--rate", "lr-0", "lr-1"], "no column 'lr-1'"),
    ],
)
def test_what_lacks_a_group_is_refused_with_a_message_and_changes_nothing(
    jobs, tmp_path, capsys, words, message
):
    csv = write(tmp_path / "some.csv", "step,lr-0", [(step, 0.1) for step in range(STEPS)])
    recorded = events(jobs)
    assert run(*(word.format(folder=jobs.path, csv=csv) for word in words)) == 2
    assert message in capsys.readouterr().err
    assert events(jobs) == recorded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ("matrices",)}, "groups: must be two names"),
        ({"groups": ("a", "b", "c")}, "groups: must be two names"),
        ({"groups": ("a", "a")}, "groups: must be named once each"),
        ({"groups": ("a", "../b")}, "groups: must be two names"),
        ({"groups": GROUPS, "ratios": (0.0, 1.0)}, "ratios: must be two, positive"),
        ({"ratios": (0.1, 1.0)}, "ratios: are those of two groups"),
        ({"shapes": "own"}, "shapes: are those of two groups"),
    ],
)
def test_groups_that_make_no_sense_are_refused(options, message):
    with pytest.raises(StudyError, match=message):
        config(**options)
