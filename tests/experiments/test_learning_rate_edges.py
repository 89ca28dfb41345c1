"""Learning rates that diverge are recorded, never dropped; a best rate at the range's edge is not hidden."""

import json
import math

import pytest

from experiments.shape_search import STUDY
from experiments.shape_search.findings import notes, present, ranking
from experiments.study.showing.cells import at_edge
from schedules import Interval


def winners_of(folder):
    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    content = json.loads((folder / "winners.json").read_text(), parse_constant=refuse)
    return content["winners"]


@pytest.mark.usefixtures("no_report")
def test_diverged_runs_are_rows_with_score_infinity(tmp_path, one_rung_config, journal_rows):
    results = STUDY.run(one_rung_config(learning_rates=(0.1, 1e6)), tmp_path)
    rows = journal_rows(tmp_path)
    # at rates of a thousand, η λ ≥ 45 for the smallest eigenvalue: the loss grows by (44²)^20 ≈ 1e65
    for (stage, *_), row in rows.items():
        if row["base_lr"] >= 1e3:
            assert stage == "screen"
            assert (row["status"], row["score"]) == ("diverged", math.inf)
            assert row["metrics"] == {"train_loss": None}
        if row["base_lr"] <= 1:
            assert row["status"] == "finished"
            assert 0 < row["score"] == row["metrics"]["train_loss"] < 1
    tried = sorted(row["base_lr"] for (stage, *_), row in rows.items() if stage == "screen")
    expected = [0.1 * 1e7 ** ((k + 0.5) / 16) for k in range(16) for _ in range(2 * 2)]
    assert tried == pytest.approx(expected, rel=1e-4)  # of both families and both replicates
    diverged = sum(row["status"] == "diverged" for row in rows.values())
    assert diverged >= 2 * 2 * 6
    assert (results.tally.runs, results.tally.diverged) == (len(rows), diverged)
    assert any(f"{len(rows)} runs, of which {diverged} diverged" in note for note in notes(results))
    assert all(winner["base_lr"] < 1e3 and winner["diverged"] == 0 for winner in winners_of(tmp_path))


@pytest.mark.usefixtures("painted")
@pytest.mark.parametrize(("strategy", "replicates"), [("sobol", 1), ("trust_region", 4)])
def test_a_study_in_which_everything_diverges_ends_and_says_so(
    tmp_path, one_rung_config, journal_rows, strategy, replicates
):
    asked = {"strategy": strategy, "candidates": 6, "batch": 4}
    chosen = {"learning_rates": (1e6, 1e7), "confirm_replicates": replicates, "top": 1}
    results = STUDY.run(one_rung_config(**asked, **chosen), tmp_path)
    rows = journal_rows(tmp_path)
    assert {row["score"] for row in rows.values()} == {math.inf}
    assert len(rows) == 2 * (6 * 2 + 1 * 2 + replicates)
    assert present(results).verdict.startswith("No winner")
    for winner in winners_of(tmp_path):
        assert winner["score"] == {"value": None, "low": None, "high": None}
        assert winner["diverged"] == winner["replicates"] == replicates
        assert winner["metrics"] == {"train_loss": None}
        assert winner["candidate"] == 0  # ties: the first
    assert "No winner" in (tmp_path / "report.html").read_text()
    drawn = strategy == "sobol"  # then the shapes are a sample, with a distribution
    assert (tmp_path / "figures" / "distributions.png").exists() is drawn


@pytest.mark.usefixtures("no_report")
def test_a_best_rate_at_an_edge_is_marked_and_one_inside_is_not(tmp_path, one_rung_config):
    """2/λ_max = 5.4 bounds what is stable: below 0.02 more is better, above 6 less is."""

    def searched(name, low, high):
        results = STUDY.run(one_rung_config(learning_rates=(low, high)), tmp_path / name)
        return results, winners_of(tmp_path / name)

    interior, winners = searched("inside", 0.01, 30.0)
    assert all(0.5 <= winner["base_lr"] <= 16 for winner in winners)
    assert not any(winner["base_lr_at_edge"] for winner in winners)
    assert not any("at an edge" in note for note in notes(interior))
    for name, low, high in (("below", 0.01, 0.02), ("above", 6.0, 12.0)):
        stuck, winners = searched(name, low, high)
        (line,) = [note for note in notes(stuck) if "at an edge of learning_rates" in note]
        assert all(family in line for family in ("constant", "cosine"))
        assert all(cells[2].endswith(" (edge)") for cells in ranking(stuck).cells("report"))
        for winner in winners:
            best = 31 / 32 if name == "below" else 1 / 32  # the outermost of sixteen in the range
            assert winner["base_lr"] == pytest.approx(low * 2**best, rel=1e-4)
            assert winner["base_lr_at_edge"] is True
        assert interior.best.score.value < stuck.best.score.value


@pytest.mark.parametrize(
    ("place", "edge"), [(0.0, True), (0.04, True), (0.06, False), (0.94, False), (0.96, True), (1.0, True)]
)
def test_the_edge_is_the_outer_twentieth_of_the_logarithms(place, edge):
    assert at_edge(0.003 * 500**place, Interval(0.003, 1.5, log=True)) is edge


@pytest.mark.usefixtures("no_report")
def test_families_that_score_the_same_tie(tmp_path, one_rung_config):
    """At a vanishing learning rate all runs of a replicate are one run: every change is exactly 0."""
    results = STUDY.run(one_rung_config(learning_rates=(1e-20, 2e-20), candidates=2), tmp_path)
    assert "not distinguishable from it: cosine." in present(results).verdict
    winners = winners_of(tmp_path)
    assert [winner["ties_with_best"] for winner in winners] == [False, True]
    for winner in winners:
        for change in winner["change_against"].values():
            assert change == {"value": 0, "low": 0, "high": 0}
