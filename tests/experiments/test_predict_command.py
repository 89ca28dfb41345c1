"""`predict FOLDER` and what a report says of the model of all curves, on a finished search of all curves."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import workloads
from experiments.shape_search import runs
from experiments.shape_search.predict import Predict, predict
from experiments.study.options.errors import StudyError
from schedules import FAMILIES, load_winner
from schedules.search import Candidate, Estimate
from tests.experiments.journals import asked, forget_runs
from tests.experiments.small_study import call, unwrapped

pytestmark = pytest.mark.xdist_group("shape_search_curves")
NUM_STEPS = 20
EVENT = "SELECT content FROM events WHERE kind = 'left out'"
COSINE = ["--family", "cosine", "--params", "warmup=0.25", "--base-lr", "0.5"]


@pytest.fixture
def finished(finished_studies):
    return finished_studies("shape_search_curves")


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "copy")


@pytest.fixture
def no_workload(finished, monkeypatch, no_training):
    monkeypatch.setattr(workloads, "load", lambda *arguments, **options: pytest.fail("a workload was loaded"))


@pytest.fixture(scope="module")
def results(finished_studies):
    study, folder, *_ = finished_studies("shape_search_curves")
    return study.results(folder)


def improved(results):
    """The same search, if the best challenger were this."""
    challenger = Candidate(FAMILIES["cosine"], 7, {"warmup": 0.25}, 0.5)
    verdict = results.verdicts[results.best.name]
    own = verdict.own._replace(found=challenger, change=Estimate(-0.1, -0.15, -0.05))
    return results._replace(verdicts={results.best.name: verdict._replace(own=own)})


def winners(finished):
    return json.loads((finished.folder / "winners.json").read_text())


def answer(finished, *words):
    status, output = call(finished.study.main, "predict", finished.folder, *words)
    assert status == 0, output
    return output


@pytest.mark.usefixtures("no_workload")
def test_a_schedule_is_the_same_from_a_file_and_from_its_family(finished, tmp_path):
    steps = np.arange(NUM_STEPS) / NUM_STEPS
    rising, u = steps / 0.25, (steps - 0.25) / 0.75
    rates = 0.5 * np.where(steps < 0.25, rising, (1 + np.cos(np.pi * u)) / 2)
    path, files = tmp_path / "cosine", sorted(finished.folder.rglob("*"))
    path.write_text("".join(f"{step},{rate!r}\n" for step, rate in enumerate(rates.tolist())))
    output = answer(finished, "--schedule", path)
    assert output == answer(finished, *COSINE)
    assert sorted(finished.folder.rglob("*")) == files  # nothing was written


def test_the_winner_is_expected_lower_than_a_rate_that_is_far_too_low(finished, results):
    output = unwrapped(answer(finished, "--family", "constant", "--params", "warmup=0", "--base-lr", "0.001"))
    assert "The winner is expected lower than constant with probability 1.00." in output
    assert f"{results.best.name}, the winner" in output
    assert "best challenger" not in output


def test_a_challenger_that_is_better_is_told_too(results):
    (reference, _), (told, _) = (
        predict(shown, Predict(Path(), None, "cosine", {"warmup": 0.25}, 0.5))
        for shown in (results, improved(results))
    )
    assert told.cells("terminal")[:2] == reference.cells("terminal")
    assert told.cells("terminal")[2][0] == "cosine, the best challenger"
    assert told.cells("terminal")[2][1:] == told.cells("terminal")[0][1:]  # the same curve as was asked for


@pytest.mark.parametrize(
    ("lost", "events", "told"),
    [("stage = 'confirm'", "FALSE", "not finished"), ("FALSE", "kind = 'left out'", "not finished")],
)
def test_an_unfinished_study_is_not_asked(finished, copy, lost, events, told):
    forget_runs(copy, lost, events)
    status, output = call(finished.study.main, "predict", copy, *COSINE)
    assert (status, told in output) == (2, True)


def test_a_folder_of_another_study_is_not_asked(finished, finished_studies):
    status, output = call(finished.study.main, "predict", finished_studies("toy").folder, *COSINE)
    assert status == 2
    assert "is not the config of shape_search" in unwrapped(output)


@pytest.mark.parametrize(
    ("strategy", "told"), [("sobol", "searched with sobol, one family"), ("curves", "too few of its runs")]
)
def test_where_there_is_no_model_of_all_curves_nothing_is_predicted(results, strategy, told):
    changed = dataclasses.replace(results.config, strategy=strategy)
    with pytest.raises(StudyError, match=told):
        predict(
            results._replace(explanation=None, config=changed), Predict(Path("folder"), Path("rates.csv"))
        )


def test_help_says_what_can_be_asked(finished, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        finished.study.main(["--help"])
    assert "`predict FOLDER` asks a finished one: What would a schedule score" in unwrapped(
        capsys.readouterr().out
    )
    with pytest.raises(SystemExit):
        finished.study.main(["predict", "--help"])
    told = unwrapped(capsys.readouterr().out)
    assert all(f"--{option}" in told for option in ("schedule", "family", "params", "base-lr"))


@pytest.mark.usefixtures("no_workload")
def test_what_the_model_chose_is_recalled_where_a_report_is_drawn(finished, monkeypatch):
    for name in ("predicted", "next_batch"):
        monkeypatch.setattr(runs, name, lambda *arguments: pytest.fail("made again"))
    told = finished.study.present(finished.study.results(finished.folder)).json()
    assert json.loads(json.dumps(told)) == winners(finished)


def test_winners_say_how_families_that_were_left_out_are_predicted(finished):
    (content,) = (json.loads(text) for (text,) in asked(finished.folder, EVENT))
    query = "SELECT score FROM trials WHERE stage = 'screen' AND \"group\" = '{}' ORDER BY number"
    scores = {name: np.array(asked(finished.folder, query.format(name)))[:, 0] for name in content}
    told = {row["family"]: row for row in winners(finished)["left_out"]}
    assert set(told) == set(content) == {"rex", "cosine", "constant"}
    correlations, covered = [], []
    for name, row in told.items():
        (low, median, high, known), level = np.array(content[name]).T, np.log(scores[name])
        correlations.append(stats.spearmanr(median, level)[0])
        covered.append((low <= level) & (level <= high))
        assert row["runs"] == len(level)
        assert row["rank_correlation"] == pytest.approx(correlations[-1])
        assert row["known_rank_correlation"] == pytest.approx(stats.spearmanr(known, level)[0])
        assert row["error"] == pytest.approx(np.sqrt(np.mean((level - median) ** 2)))
        assert row["covered"] == pytest.approx(np.mean(covered[-1]))
    ranks, shares = winners(finished)["claims"]
    assert ranks["effect"]["value"] == pytest.approx(np.median(correlations))
    assert ranks["held"] == (np.median(correlations) >= 0.75)
    assert shares["effect"]["value"] == pytest.approx(np.mean(np.concatenate(covered)))
    assert shares["held"] == (0.9 <= shares["effect"]["value"] <= 0.98)


def test_the_report_shows_what_would_be_tried_next(finished, results):
    report = (finished.folder / "report.html").read_text()
    assert "What would be tried next" in report
    (batch,) = (
        json.loads(text) for (text,) in asked(finished.folder, EVENT.replace("left out", "next batch"))
    )
    assert [proposal["base_lr"] for proposal in batch] == [c.base_lr for c in results.explanation.next_batch]
    for proposal in batch:
        assert proposal["family"] in ("rex", "cosine", "constant", "free")
        assert " ".join(f"{name}={value:.3g}" for name, value in proposal["params"].items()) in report


def test_the_verdict_among_all_curves_is_of_a_challenger(finished):
    best = winners(finished)["winners"][0]
    facts = best["near_optimality"]
    assert {"family", "params", "base_lr", "change", "delta"} == set(facts["challenger"])
    assert not {"own_family", "free"} & set(facts)
    assert load_winner(finished.folder / "winners.json").base_lr == best["base_lr"]
