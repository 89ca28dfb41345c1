"""What a jobs folder is told: results, failures, corrections, runs of elsewhere, and what it refuses."""

import contextlib
import json
import math
import sqlite3
import time

import numpy as np
import pytest

import schedules
from experiments.__main__ import main
from experiments.jobs.creating import create_jobs
from experiments.jobs.status import median_interval
from experiments.study.options.errors import StudyError
from schedules.search.scoring import between_order_statistics
from tests.experiments.test_jobs import config, told

pytestmark = pytest.mark.usefixtures("rough_bounds")
STEPS = 20


@pytest.fixture
def jobs(tmp_path):
    return create_jobs(tmp_path / "jobs", config(runs=24, attempts=2))


def events(jobs):
    """All that was recorded, past the code under test."""
    with contextlib.closing(sqlite3.connect(jobs.record)) as connection:
        return connection.execute("SELECT number, kind, content FROM events ORDER BY number").fetchall()


def trial_of(jobs, name):
    return jobs.status().trials[name]


def run(*words):
    return main([str(word) for word in words])


def test_what_is_told_twice_is_recorded_once_and_another_value_is_refused(jobs):
    name = jobs.ask().id
    jobs.tell(name, 0.5, sem=0.1, metrics={"accuracy": 0.9})
    recorded = events(jobs)
    jobs.tell(name, 0.5, sem=0.1, metrics={"accuracy": 0.9})
    for other in ({"value": 0.6}, {"value": 0.5}, {"failed": True}, {"diverged": True}):
        with pytest.raises(StudyError, match=f"{name} was told before: 0.5."):
            jobs.tell(name, **other)
    assert events(jobs) == recorded
    jobs.tell(name, 0.6, replace=True)
    trial = trial_of(jobs, name)
    assert (trial.told.value, trial.corrections) == (0.6, 1)
    assert len(events(jobs)) == len(recorded) + 1  # what it replaced is still there


def test_what_failed_is_asked_for_again_at_most_as_often_as_said(jobs):
    name = jobs.ask("a").id
    jobs.tell(name, failed=True)
    jobs.tell(name, failed=True)
    assert jobs.ask("b").id == name
    jobs.tell(name, failed=True)
    assert jobs.ask("c").id != name
    state = jobs.status()
    assert state.given_up(state.trials[name])
    assert state.score(state.trials[name]) == math.inf


def test_a_run_that_diverged_is_the_worst_that_there_is(jobs):
    name = jobs.ask().id
    assert run("tell", jobs.path, name, "--diverged") == 0
    state = jobs.status()
    assert state.score(state.trials[name]) == math.inf
    assert not state.open or state.open[0].id != name


def test_a_value_on_the_way_is_kept_and_leaves_the_trial_pending(jobs, capsys):
    name = jobs.ask().id
    assert run("tell", jobs.path, name, "0.9", "--step", "5") == 0
    assert run("tell", jobs.path, name, "0.9", "--step", "5") == 0
    assert run("tell", jobs.path, name, "0.8", "--step", "5") == 2
    assert trial_of(jobs, name).status == "pending"
    assert run("tell", jobs.path, name, "0.7", "--step", STEPS) == 0
    capsys.readouterr()
    run("status", jobs.path, "--json")
    (shown,) = [trial for trial in json.loads(capsys.readouterr().out)["trials"] if trial["id"] == name]
    assert (shown["value"], shown["partial"]) == (0.7, [[5, 0.9]])


def test_a_run_that_begins_again_tells_anew_what_it_told_on_the_way(jobs):
    name = jobs.ask().id
    for step, value in ((5, 0.9), (10, 0.8), (5, 0.91)):
        jobs.tell(name, value, step=step, replace=True)
    shown = {partial.step: partial.told.value for partial in trial_of(jobs, name).partial}
    assert shown == {5: 0.91, 10: 0.8}
    assert len(trial_of(jobs, name).partial) == 2
    assert [kind for _, kind, _ in events(jobs)].count("partial") == 3


def test_a_trial_that_never_came_back_goes_to_another_worker(jobs, monkeypatch):
    now = time.time()
    name = jobs.ask("lost").id
    assert jobs.ask("other", stale_hours=1).id != name
    monkeypatch.setattr(time, "time", lambda: now + 3700)
    assert jobs.ask("third", stale_hours=1).id == name
    assert trial_of(jobs, name).worker == "third"
    jobs.tell(name, 0.5)  # by whichever of them
    with pytest.raises(StudyError, match="was told before"):
        jobs.tell(name, 0.6)


def test_a_clock_that_jumps_back_makes_nothing_stale(jobs, monkeypatch):
    jobs.ask("lost")
    recorded = events(jobs)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 7200)
    with pytest.raises(StudyError, match="the clock is 2 hours behind"):
        jobs.ask("other", stale_hours=1)
    assert events(jobs) == recorded
    assert jobs.ask("other")


def test_an_accuracy_is_maximised(tmp_path, capsys):
    jobs = create_jobs(tmp_path / "jobs", config(runs=24, maximize=True, metric_name="accuracy"))
    for value in (0.5, 0.9, 0.7):
        jobs.tell(jobs.ask("a").id, value)
    run("status", jobs.path)
    assert "best so far" in (output := capsys.readouterr().out)
    assert "0.9, of a single run" in output


@pytest.mark.parametrize("count", [1, 5, 6, 9, 40])
def test_the_interval_of_a_median_is_that_of_its_order_statistics(count):
    values = np.random.default_rng(count).normal(size=count)
    expected = between_order_statistics(values, 0.95)
    ends = median_interval(values.tolist(), 0.95)
    assert ends == (tuple(expected[1:]) if math.isfinite(expected.low) else None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tell", "{folder}", "{id}", "nan"], "value: must be finite, got nan"),
        (["tell", "{folder}", "{id}", "-inf"], "value: must be finite"),
        (["tell", "{folder}", "{id}"], "value: needed"),
        (["tell", "{folder}", "{id}", "0.5", "--failed"], "one of them"),
        (["tell", "{folder}", "{id}", "0.5", "--sem", "-1"], "sem: must be finite and not negative"),
        (["tell", "{folder}", "{id}", "0.5", "--step", "21"], "step: must be from 1 to 20"),
        (["tell", "{folder}", "{id}", "0.5", "--replace"], "nothing was told"),
        (["tell", "{folder}", "{id}", "--failed", "--failed"], "failed: typed 2 times"),
        (["tell", "{folder}", "{token}-9999", "1"], "was never proposed"),
        (["tell", "{folder}", "{token}-0002", "1"], "nobody asked for"),
        (["tell", "{folder}", "zzzz-0001", "1"], "is of another folder"),
        (["tell", "{folder}/nowhere", "{id}", "1"], "is no jobs folder"),
        (["ask", "{folder}", "--count", "0"], "count: must be at least 1"),
        (["ask", "{folder}", "--stale", "-1"], "stale: must be hours"),
        (["add", "{folder}", "--family", "rex", "--base-lr", "0.1"], "there is no 'rex'"),
        (["add", "{folder}", "--family", "wsd", "--base-lr", "0.1"], "missing parameter"),
        (["add", "{folder}", "--family", "linear", "--params", "warmup=0.1"], "base_lr: needed"),
        (["add", "{folder}", "--schedule", "{csv}"], "must hold 20 numbers"),
        (["import", "{folder}", "{csv}"], "no column 'learning_rate'"),
        (["import", "{folder}", "{csv}", "--rate", "loss", "--score", "none"], "score: there is no column"),
        (["import", "{folder}", "{csv}", "--rate", "loss"], "must cover 20 steps, got steps 0 to 1"),
        (["import", "{folder}", "{folder}/none.csv"], "cannot be read"),
        (["jobs", "creat", "{folder}"], "did you mean 'create'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_message_and_changes_nothing(
    jobs, tmp_path, capsys, words, message
):
    name = jobs.ask("a").id
    csv = tmp_path / "runs.csv"
    csv.write_text("step,loss\n0,1.0\n1,0.5\n")
    recorded = events(jobs)
    texts = {"folder": jobs.path, "id": name, "token": jobs.status().token, "csv": csv}
    assert run(*(word.format(**texts) for word in words)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert not captured.out
    assert events(jobs) == recorded


def curve(peak):
    return [peak * (1 - step / STEPS) for step in range(STEPS)]


def write(path, heading, rows):
    path.write_text("\n".join([heading, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_runs_of_before_are_imported_from_each_layout_and_once(jobs, tmp_path, capsys):
    long = [(f"run {k}", t, rate, 1 / (t + k)) for k in (1, 2) for t, rate in enumerate(curve(0.1 * k))]
    tensorboard = "Wall time,Step,Value"
    files = {
        "long": [write(tmp_path / "long.csv", "run,step,lr,loss", long)],
        "wandb": [
            write(
                tmp_path / "chart.csv",
                "Step,one - lr,one - lr__MIN,one - lr__MAX,one - loss",
                [(t, rate, rate, rate, "" if t < STEPS - 1 else 0.25) for t, rate in enumerate(curve(0.3))],
            )
        ],
        "tensorboard": [
            f"lr={write(tmp_path / 'a.csv', tensorboard, [(9, t, r) for t, r in enumerate(curve(0.4))])}",
            f"loss={write(tmp_path / 'b.csv', tensorboard, [(9, 19, 'nan')])}",
        ],
    }
    for names in files.values():
        assert run("import", jobs.path, *names) == 0
    recorded = events(jobs)
    assert run("import", jobs.path, *files["long"]) == 0
    assert "0 runs imported, 4 in all" in capsys.readouterr().out
    assert events(jobs) == recorded
    runs = jobs.status().imported
    assert [run.value for run in runs] == [1 / 20, 1 / 21, 0.25, None]
    with contextlib.closing(sqlite3.connect(jobs.record)) as connection:
        arrays = dict(connection.execute("SELECT digest, content FROM arrays"))
    for peak, made in zip((0.1, 0.2, 0.3, 0.4), runs, strict=True):
        rates = np.frombuffer(arrays[made.learning_rates], np.float32)
        assert np.allclose(rates, curve(peak), rtol=1e-6, atol=1e-8)


def test_the_search_learns_from_runs_that_were_imported(jobs, tmp_path):
    """Sixteen of before put the best peak at 0.03: what is asked for first lies there, not over all rates."""
    peaks = np.geomspace(0.01, 1, 16)
    rows = [
        (k, t, r, np.log(p / 0.03) ** 2 + 0.1) for k, p in enumerate(peaks) for t, r in enumerate(curve(p))
    ]
    assert run("import", jobs.path, write(tmp_path / "runs.csv", "run,step,lr,loss", rows)) == 0
    rates = [trial.base_lr for trial in jobs.ask_several(8)]
    assert np.median(np.abs(np.log(np.array(rates) / 0.03))) < 0.7


def test_a_schedule_of_ones_own_is_asked_for_as_it_is(jobs, tmp_path, capsys):
    jobs.ask("a")
    rates = [0.05] * 10 + [0.2] * 10
    path = write(tmp_path / "own.csv", "learning_rate", [(rate,) for rate in rates])
    assert run("add", jobs.path, "--schedule", path) == 0
    assert run("add", jobs.path, "--family", "linear", "--params", "warmup=0.1", "--base-lr", "0.3") == 0
    asked = {trial.id: trial for trial in jobs.ask_several(30)}
    own, linear = (asked[line.split()[0]] for line in capsys.readouterr().out.splitlines())
    assert np.array_equal(own.learning_rates, np.float32(0.2) * np.float32([0.25] * 10 + [1.0] * 10))
    expected = schedules.FAMILIES["linear"].multipliers({"warmup": 0.1}, STEPS)
    assert np.array_equal(linear.multipliers, expected)
    for trial in jobs.status().pending:
        jobs.tell(trial.id, 0.1 if trial.id == own.id else 1.0)
    told(jobs, 1)
    finalists = {trial.family for trial in jobs.status().trials.values() if trial.stage == "confirm"}
    assert finalists == {"own_1"}


def test_a_report_tells_the_verdict_and_the_winner_is_loaded_back(jobs, capsys):
    assert run("report", jobs.path) == 0
    assert "Not finished; next: explore." in capsys.readouterr().out
    told(jobs)
    capsys.readouterr()
    assert run("report", jobs.path) == 0
    assert "near-optimal within" in capsys.readouterr().out
    winner = schedules.load_winner(jobs.path / "winners.json")
    confirmed = [trial for trial in jobs.status().trials.values() if trial.stage == "confirm"]
    assert (winner.family.name, dict(winner.params)) == (confirmed[0].family, dict(confirmed[0].params))
    told_values = [trial.told.value for trial in confirmed]
    content = json.loads((jobs.path / "winners.json").read_text())
    assert content["winners"][0]["score"]["value"] == pytest.approx(np.median(told_values))
    report = (jobs.path / "report.html").read_text()
    assert all(trial.id in report for trial in confirmed)
    assert report.count("data:image/png") == 2
