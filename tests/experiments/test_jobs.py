"""A jobs folder from its creation to its verdict, as workers see it."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest

import schedules
from experiments.__main__ import main
from experiments.jobs import open_jobs
from experiments.jobs.config import JobsConfig
from experiments.jobs.creating import create_jobs
from experiments.study.options.errors import StudyError
from tests.experiments.processes import PATIENCE, ROOT

pytestmark = pytest.mark.usefixtures("rough_bounds")
EXAMPLES = ROOT / "experiments" / "jobs" / "examples"
STEEPEST = f"""#!/bin/sh
exec '{sys.executable}' -m experiments "$@"
"""
WITHOUT_JAX = """
import sys
from experiments.__main__ import main
status = main(sys.argv[1:])
print({"jax", "scipy", "matplotlib"} & sys.modules.keys())
sys.exit(status)
"""


def config(**options):
    return JobsConfig(num_steps=20, learning_rates=(0.01, 1.0), families=("linear", "wsd"), **options)


def score(trial):
    """Best at a peak rate of 0.2 that has come down at the end."""
    rates = np.asarray(trial.learning_rates)
    luck = np.random.default_rng(trial.seed).normal()
    return math.exp(np.log(rates.max() / 0.2) ** 2 + rates[-1] + 0.05 * luck)


def told(jobs, count=None, worker="first"):
    """The trials of one worker that asks and tells, so many or all."""
    trials = []
    while (count is None or len(trials) < count) and (trial := jobs.ask(worker)):
        jobs.tell(trial.id, score(trial))
        trials.append(trial)
    return trials


@pytest.fixture
def jobs(tmp_path):
    return create_jobs(tmp_path / "jobs", config(runs=24))


@pytest.fixture
def environment(tmp_path):
    """Of a shell that finds `steepest` from anywhere."""
    command = tmp_path / "bin" / "steepest"
    command.parent.mkdir()
    command.write_text(STEEPEST)
    command.chmod(0o755)
    search_path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    return {**os.environ, "PATH": search_path, "PYTHONPATH": str(ROOT), "PAUSE": "1"}


def test_two_shell_workers_finish_a_search_with_a_job_that_knows_nothing_of_it(jobs, environment):
    told(jobs, 22)
    command = ["sh", EXAMPLES / "worker.sh", jobs.path]
    job = [sys.executable, EXAMPLES / "digits_mlp.py"]
    workers = [
        subprocess.Popen([*command, name, *job], env=environment, cwd=jobs.path.parent) for name in "ab"
    ]
    assert [worker.wait(PATIENCE) for worker in workers] == [0, 0]
    state = jobs.status()
    assert state.finished
    last = list(state.trials.values())[22:]
    assert {trial.worker for trial in last} == {"a", "b"}
    assert all(0 < trial.told.value < 3 for trial in last)


def test_a_worker_whose_value_is_refused_ends_and_runs_the_trial_no_more(jobs, environment):
    told(jobs, 1)
    command = ["sh", EXAMPLES / "worker.sh", jobs.path, "a", "sh", "-c", "echo step 1; echo 0.5"]
    worker = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert worker.returncode == 1
    assert worker.stderr.count("step 1") == 1
    (trial,) = jobs.status().pending
    assert trial.worker == "a"


def test_the_file_of_a_trial_holds_the_schedule_of_its_family(jobs, capsys):
    assert main(["ask", str(jobs.path), "--worker", "a"]) == 0
    line = capsys.readouterr().out
    trial = json.loads(line)
    keys = "id stage family params base_lr num_steps seed learning_rates multipliers"
    assert list(trial) == keys.split()
    assert (jobs.path / "trials" / f"{trial['id']}.json").read_text() == line
    family = schedules.FAMILIES[trial["family"]]
    expected = np.asarray(family.multipliers(trial["params"], 20))
    assert np.array_equal(np.float32(trial["multipliers"]), expected)
    rates = np.float32(trial["base_lr"]) * expected
    assert np.array_equal(np.float32(trial["learning_rates"]), rates)
    assert 0 <= trial["seed"] < 2**31


def test_long_tables_lie_beside_the_file(tmp_path, capsys):
    long = JobsConfig(num_steps=10_001, learning_rates=(0.01, 1.0), families=("wsd",), runs=24)
    jobs = create_jobs(tmp_path / "jobs", long)
    assert main(["ask", str(jobs.path)]) == 0
    trial = json.loads(capsys.readouterr().out)
    folder = jobs.path / "trials"
    multipliers = np.asarray(schedules.FAMILIES["wsd"].multipliers(trial["params"], 10_001))
    assert np.array_equal(np.load(folder / trial["multipliers"]), multipliers)
    assert np.array_equal(
        np.load(folder / trial["learning_rates"]), np.float32(trial["base_lr"]) * multipliers
    )


def test_a_worker_gets_back_what_it_has_and_others_get_other_trials(jobs):
    first = [jobs.ask(worker) for worker in "abc"]
    again = [jobs.ask(worker) for worker in "abc"]
    assert [trial.id for trial in first] == [trial.id for trial in again]
    assert len({trial.id for trial in first}) == 3
    nameless = {jobs.ask().id, jobs.ask().id}
    assert len(nameless | {trial.id for trial in first}) == 5


def test_trials_of_a_block_share_a_seed_and_blocks_do_not(jobs):
    explored = [trial for trial in told(jobs, 24) if trial.stage == "screen"]
    assert len(explored) == 14
    assert len({trial.seed for trial in explored}) == 1  # with so few runs they are one block
    confirmed = [trial for trial in jobs.status().trials.values() if trial.stage == "confirm"]
    seeds = {trial.seed for trial in confirmed}
    assert len(seeds) == len(confirmed) == 10
    assert not seeds & {trial.seed for trial in explored}


def test_a_search_ends_with_its_verdict_and_says_so(jobs, capsys):
    assert main(["status", str(jobs.path)]) == 0
    assert "next: explore" in capsys.readouterr().out
    told(jobs, 14)
    assert main(["ask", str(jobs.path), "--count", "99"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert main(["ask", str(jobs.path)]) == 3
    assert "10 trials are pending" in capsys.readouterr().err
    for trial in jobs.status().pending:
        jobs.tell(trial.id, 1.0)
    assert main(["ask", str(jobs.path)]) == 4
    assert main(["status", str(jobs.path)]) == 0
    assert "next: done" in capsys.readouterr().out


def test_the_same_folder_asks_for_the_same_wherever_it_is(tmp_path):
    def asked(name, count, **options):
        jobs = create_jobs(tmp_path / name, config(runs=40, **options))
        trials = told(jobs, count)
        return [(trial.params, trial.base_lr, trial.seed) for trial in trials]

    first = asked("one", 24)  # of which the last eight are of the model's
    assert first == asked("other", 24)
    assert asked("one more", 4, seed=1) != first[:4]


def test_what_only_reads_or_records_imports_no_jax(jobs):
    trial = jobs.ask("a")
    jobs.ask_several(3, "b")
    for words in (["status"], ["status", "--json"], ["tell", trial.id, "0.5"], ["ask", "--worker", "b"]):
        word, *options = words
        command = [sys.executable, "-c", WITHOUT_JAX, word, str(jobs.path), *options]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        assert process.stdout.splitlines()[-1] == "set()"


def test_a_folder_is_created_once(jobs):
    assert create_jobs(jobs.path, config(runs=24)).status() == jobs.status()
    with pytest.raises(StudyError, match=r"runs: 24 there, 40 asked for"):
        create_jobs(jobs.path, config(runs=40))
    with pytest.raises(StudyError, match=r"is no jobs folder"):
        open_jobs(jobs.path.parent)
