"""The verdict on the best winner, as winners.json and the report have it, against the journal's rows."""

import json

import numpy as np
import pytest

from experiments.shape_search import STUDY
from experiments.shape_search.findings import notes

REPLICATES = 12


@pytest.fixture(scope="module")
def study(tmp_path_factory, tiny_config):
    """A study's folder and what was said at its end; its best winner was checked."""
    folder = tmp_path_factory.mktemp("checked") / "study"
    config = tiny_config(
        families=("rex",),
        checked=1,
        local_replicates=3,
        check_replicates=REPLICATES,
        strategy="sobol",
        rung_replicates=(3,),
        rung_horizons=(1.0,),
    )
    results = STUDY.run(config, folder)
    return folder, notes(results)


@pytest.fixture(scope="module")
def winners(study):
    return json.loads((study[0] / "winners.json").read_text())["winners"]


@pytest.fixture(scope="module")
def checked(study, journal_rows):
    """Candidate number → a row, and the scores by replicate in the stage of the verdict."""
    rows = {i: row for i, row in journal_rows(study[0]).items() if i[0] == "check"}
    found = {}
    for number in {i[2] for i in rows}:
        chosen = {i[4]: row for i, row in rows.items() if i[2] == number}
        found[number] = chosen[0], np.array([chosen[replicate]["score"] for replicate in range(len(chosen))])
    return found


def test_only_the_best_winner_is_checked(winners):
    assert [entry["near_optimality"] is not None for entry in winners] == [True] + [False] * 2


def test_a_verdict_is_the_median_of_paired_changes_on_seeds_of_its_own(winners, checked):
    best = winners[0]
    row, reference = checked[0]
    assert (row["params"], row["base_lr"]) == (best["params"], best["base_lr"])
    assert len(reference) == REPLICATES
    for line in ("own_family", "free"):
        finding = best["near_optimality"][line]
        (scores,) = (
            scores
            for row, scores in checked.values()
            if (row["params"], row["base_lr"]) == (finding["params"], finding["base_lr"])
        )
        change = finding["change"]
        assert change["value"] == pytest.approx(np.median(scores / reference) - 1)
        assert change["low"] <= change["value"] <= change["high"]
        assert 0 <= finding["delta"] <= 1


def test_the_verdict_is_said_at_the_end_and_in_the_report(winners, study):
    folder, said = study
    assert f"{winners[0]['family']}: {winners[0]['near_optimality']['verdict']}." in said
    report = (folder / "report.html").read_text()
    assert winners[0]["near_optimality"]["verdict"] in report
    assert "alt='found_shapes'" in report
    assert f"alt='sweeps_{winners[0]['family']}'" in report
