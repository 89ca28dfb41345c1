"""The verdict on the best winner, as winners.json and the report have it, against the journal's rows."""

import json

import numpy as np
import pytest

from experiments.shape_search import Config


@pytest.fixture(scope="module")
def winners(finished):
    return json.loads((finished.folder / "winners.json").read_text())["winners"]


@pytest.fixture(scope="module")
def checked(finished, journal_rows):
    """Candidate number → its parameters and scores by replicate in the stage of the verdict."""
    rows = {i: row for i, row in journal_rows(finished.folder).items() if i[0] == "check"}
    numbers = {number for _, _, number, _, _ in rows}
    found = {}
    for number in numbers:
        of = {i[4]: row for i, row in rows.items() if i[2] == number}
        found[number] = of[0], np.array([of[replicate]["score"] for replicate in range(len(of))])
    return found


def test_only_the_best_winner_is_checked(winners):
    assert [entry["near_optimality"] is not None for entry in winners] == [True] + [False] * 3


def test_a_verdict_is_the_median_of_paired_changes_on_seeds_of_its_own(winners, checked):
    best = winners[0]
    row, reference = checked[0]
    assert (row["params"], row["base_lr"]) == (best["params"], best["base_lr"])
    assert len(reference) == Config().check_replicates
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


def test_the_verdict_is_said_at_the_end_and_in_the_report(winners, finished):
    said = f"{winners[0]['family']}: {winners[0]['near_optimality']['verdict']}"
    assert said in finished.output
    report = (finished.folder / "report.html").read_text()
    assert winners[0]["near_optimality"]["verdict"] in report
    assert "alt='found_shapes'" in report
    assert f"alt='sweeps_{winners[0]['family']}'" in report
