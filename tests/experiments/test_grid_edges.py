"""Learning rates that diverge are recorded, never dropped; a best rate on the grid's edge is not hidden."""

import collections
import json
import math

import pytest

from experiments.shape_search import run
from experiments.shape_search.results import notes, table_rows

SMALL = {"families": ("constant",), "shapes": 2, "screen_replicates": 2, "select_replicates": 2}


def winners_of(folder):
    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    content = json.loads((folder / "winners.json").read_text(), parse_constant=refuse)
    return content["winners"]


@pytest.mark.usefixtures("no_report")
def test_diverged_runs_are_rows_with_score_infinity(tmp_path, tiny_config, journal_rows):
    rates = (1.0, 4.0, 1e3, 1e6)
    results = run(tiny_config(**SMALL, learning_rates=rates), tmp_path)
    rows = journal_rows(tmp_path)
    # at rates of a thousand, η λ ≥ 45 for the smallest eigenvalue: the loss grows by (44²)^20 ≈ 1e65
    for (stage, *_), row in rows.items():
        if row["base_lr"] >= 1e3:
            assert stage == "screen"
            assert (row["status"], row["score"]) == ("diverged", math.inf)
            assert row["metrics"] == {"train_loss": None}
        if row["base_lr"] == 1.0:
            assert row["status"] == "finished"
            assert 0 < row["score"] == row["metrics"]["train_loss"] < 1
    runs = collections.Counter(
        (family, number, rate) for stage, family, number, rate, _ in rows if stage == "screen"
    )
    assert set(runs.values()) == {2}
    assert {(family, number, rate) for family, number, rate in runs if 0 <= rate < 4} == {
        (family, number, rate)
        for family in ("cosine", "constant")
        for number in range(2)
        for rate in range(4)
    }
    diverged = sum(row["status"] == "diverged" for row in rows.values())
    assert diverged >= 2 * 2 * 2 * 2
    assert results.counts == {"finished": len(rows) - diverged, "diverged": diverged}
    assert any(f"{len(rows)} runs, of which {diverged} diverged" in note for note in notes(results))
    assert all(winner["base_lr"] < 1e3 and winner["diverged"] == 0 for winner in winners_of(tmp_path))


@pytest.mark.parametrize("replicates", [1, 4])
def test_a_study_in_which_everything_diverges_ends_and_says_so(
    tmp_path, tiny_config, journal_rows, replicates
):
    config = tiny_config(
        **SMALL, learning_rates=(1e6, 1e7), max_extensions=0, confirm_replicates=replicates, top=1
    )
    results = run(config, tmp_path)
    rows = journal_rows(tmp_path)
    assert {row["score"] for row in rows.values()} == {math.inf}
    assert len(rows) == 2 * (2 * 2 * 2 + 1 * 2 + replicates)
    assert results.verdict.startswith("No winner")
    for winner in winners_of(tmp_path):
        assert winner["score"] == {"value": None, "low": None, "high": None}
        assert winner["diverged"] == winner["replicates"] == replicates
        assert winner["metrics"] == {"train_loss": None}
        assert (winner["candidate"], winner["base_lr"]) == (0, 1e6)  # ties: the first
    assert "No winner" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize(
    ("rates", "edge"), [((0.01, 0.02), 0.02), ((64.0, 128.0), 64.0)], ids=["optimum above", "optimum below"]
)
def test_a_best_rate_on_the_edge_is_reported_or_passed(tmp_path, tiny_config, rates, edge):
    stuck = run(tiny_config(**SMALL, learning_rates=rates, max_extensions=0), tmp_path / "stuck")
    for winner in winners_of(tmp_path / "stuck"):
        assert winner["base_lr"] == edge
        assert winner["base_lr_bracketed"] is False
    assert any("not bracketed" in note and "constant" in note for note in notes(stuck))
    assert all(cells[2] == f"{edge:g} (edge)" for cells in table_rows(stuck))

    free = run(tiny_config(**SMALL, learning_rates=rates, max_extensions=12), tmp_path / "free")
    for winner in winners_of(tmp_path / "free"):
        assert 0.5 <= winner["base_lr"] <= 16  # 2/λ_max = 5.4 bounds what is stable
        assert winner["base_lr_bracketed"] is True
    assert not any("not bracketed" in note for note in notes(free))
    assert free.best.score.value < stuck.best.score.value


@pytest.mark.usefixtures("no_report")
def test_extensions_end_at_their_limit(tmp_path, tiny_config, journal_rows):
    run(tiny_config(**SMALL, learning_rates=(0.01, 0.02), max_extensions=2), tmp_path)
    rates = {row["base_lr"] for row in journal_rows(tmp_path).values()}
    assert rates == {0.01, 0.02, 0.04, 0.08}
    assert not any(winner["base_lr_bracketed"] for winner in winners_of(tmp_path))


@pytest.mark.usefixtures("no_report")
def test_families_that_score_the_same_tie(tmp_path, tiny_config):
    """At a vanishing learning rate all runs of a replicate are one run: every change is exactly 0."""
    results = run(tiny_config(**SMALL, learning_rates=(1e-20,)), tmp_path)
    assert "not distinguishable from it: cosine." in results.verdict
    winners = winners_of(tmp_path)
    assert [winner["ties_with_best"] for winner in winners] == [False, True]
    for winner in winners:
        for change in winner["change_against"].values():
            assert change == {"value": 0, "low": 0, "high": 0}
