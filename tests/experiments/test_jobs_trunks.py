"""A jobs folder whose trials go on from trunks, one a seed."""

import json

import numpy as np
import pytest

from experiments.__main__ import main
from experiments.jobs.creating import create_jobs
from experiments.study.options.errors import StudyError
from tests.experiments.test_jobs import EXAMPLES, config

TRUNK = 7


@pytest.fixture
def jobs(tmp_path):
    return create_jobs(tmp_path / "jobs", config(runs=24, trunk_steps=TRUNK))


def test_trials_of_one_seed_name_one_trunk_and_the_search_is_the_same_as_without(jobs, tmp_path):
    plain = create_jobs(tmp_path / "plain", config(runs=24)).ask_several(14)
    for branch, whole in zip(jobs.ask_several(14), plain, strict=True):
        assert branch.trunk == (f"{jobs.status().token}-trunk-{branch.seed}", TRUNK)
        assert len(branch.learning_rates) == branch.num_steps == 20
        assert branch[1:7] == whole[1:7]
        assert np.array_equal(branch.learning_rates, whole.learning_rates)
        assert whole.trunk is None
    state = jobs.status()
    trials = [trial._replace(seed=seed) for seed in (1, 2) for trial in state.trials.values()]
    assert {state.trunk(trial).name for trial in trials} == {f"{state.token}-trunk-{seed}" for seed in (1, 2)}


def test_without_seeds_there_is_one_trunk(tmp_path):
    jobs = create_jobs(tmp_path / "jobs", config(runs=24, trunk_steps=TRUNK, unseeded=True))
    assert {trial.trunk for trial in jobs.ask_several(14)} == {(f"{jobs.status().token}-trunk", TRUNK)}


def test_a_job_that_goes_on_from_a_saved_trunk_ends_as_one_that_trains_it_too(jobs, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import digits_branches
    import digits_mlp

    saved = []
    for asked in jobs.ask_several(2):
        trial = json.loads((jobs.path / "trials" / f"{asked.id}.json").read_text())
        assert trial["trunk"] == {"name": asked.trunk.name, "steps": TRUNK}
        rates = [digits_branches.RATE] * TRUNK + trial["learning_rates"]
        whole = digits_mlp.final_loss(rates, asked.seed)
        assert digits_branches.final_loss(trial, tmp_path / "trunks") == whole
        (path,) = (tmp_path / "trunks").iterdir()
        saved.append((path.name, path.stat().st_mtime_ns))
    assert saved[0] == saved[1]
    assert saved[0][0] == f"{asked.trunk.name}.pickle"


def test_the_report_says_that_there_is_a_trunk(jobs):
    assert main(["report", str(jobs.path)]) == 0
    told = (jobs.path / "report.html").read_text()
    assert "loss, 20 steps after a trunk of 7, 0 runs told of 24" in told


def test_a_negative_trunk_is_refused():
    with pytest.raises(StudyError, match=r"trunk_steps: must be at least 0, got -1"):
        config(trunk_steps=-1)
