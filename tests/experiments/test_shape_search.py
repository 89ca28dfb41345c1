"""The search: what winners.json says follows from the journal's scores by the rules of the specification.

Everything is computed again from the journal with plain Python.
"""

import json
import math
import statistics

import numpy as np
import pytest

from experiments.shape_search import STUDY

FAMILIES = ("rex", "two_point_linear", "cosine", "constant")
CANDIDATES, BATCH, RUNGS, TOP, SELECT, CONFIRM = 10, 4, {10: 2, 20: 3}, 2, 3, 5


def grouped(rows, stage):
    """{(family, candidate, steps): the scores of its replicates in order}."""
    groups = {}
    for (row_stage, family, candidate, steps, replicate), row in sorted(rows.items()):
        if row_stage == stage:
            groups.setdefault((family, candidate, steps), {})[replicate] = row["score"]
    for scores in groups.values():
        assert list(scores) == list(range(len(scores)))
    return {key: list(scores.values()) for key, scores in groups.items()}


def medians_of(rows, family, steps):
    """{candidate: the median on the screening's rung of so many steps}."""
    return {
        candidate: statistics.median(scores)
        for (of_family, candidate, of_steps), scores in grouped(rows, "screen").items()
        if (of_family, of_steps) == (family, steps)
    }


def top_of(rows, family):
    finished = medians_of(rows, family, 20)
    return sorted(finished, key=lambda candidate: (finished[candidate], candidate))[:TOP]


def winner_of(rows, family):
    selected = grouped(rows, "select")
    medians = {
        candidate: statistics.median(selected[family, candidate, 20]) for candidate in top_of(rows, family)
    }
    return min(medians, key=lambda candidate: (medians[candidate], candidate))


@pytest.fixture(scope="module")
def rows(finished, journal_rows):
    return journal_rows(finished.folder)


@pytest.fixture(scope="module")
def winners(finished):
    content = json.loads((finished.folder / "winners.json").read_text())
    return {entry["family"]: entry for entry in content["winners"]}


def test_every_family_and_both_baselines_are_searched(rows, winners):
    assert {family for _, family, *_ in rows} == set(FAMILIES)
    assert set(winners) == set(FAMILIES)


def test_every_family_is_drawn(finished):
    figures = {"winning_shapes", "near_best_shapes", "scores", "importances", "allocation", "learning_rates"}
    figures |= {f"parameters_{family}" for family in FAMILIES}
    assert {path.stem for path in (finished.folder / "figures").iterdir()} == figures


def test_every_candidate_runs_on_the_first_rung_and_the_better_half_so_far_on_the_last(rows):
    for (_, _, steps), scores in grouped(rows, "screen").items():
        assert len(scores) == RUNGS[steps]
    for family in FAMILIES:
        first, last = (medians_of(rows, family, steps) for steps in RUNGS)
        assert list(first) == list(range(CANDIDATES))
        went_on = set()
        for start in range(0, CANDIDATES, BATCH):
            end = min(start + BATCH, CANDIDATES)
            so_far = sorted(first[candidate] for candidate in range(end))
            bar = so_far[math.ceil(end / 2) - 1]
            went_on |= {candidate for candidate in range(start, end) if first[candidate] <= bar}
        assert set(last) == went_on
        assert len(went_on) < CANDIDATES


def test_base_rates_lie_in_the_range_and_belong_to_the_candidate(rows):
    rates = {}
    for (_, family, candidate, *_), row in rows.items():
        assert 0.1 <= row["base_lr"] <= 4
        rates.setdefault((family, candidate), set()).add(row["base_lr"])
    assert all(len(of_candidate) == 1 for of_candidate in rates.values())
    assert len(set.union(*rates.values())) > len(FAMILIES) * CANDIDATES / 2


@pytest.mark.parametrize("family", ["cosine", "constant"])
def test_what_is_asked_after_scores_are_known_is_better_than_what_was_asked_before(rows, family):
    """The default strategy draws twice as many points as there are dimensions, and then follows a model."""
    scores = list(medians_of(rows, family, 10).values())
    assert statistics.median(scores[4:]) < statistics.median(scores[:4])


def test_the_top_candidates_and_only_they_are_selected_from(rows):
    expected = {(family, candidate, 20) for family in FAMILIES for candidate in top_of(rows, family)}
    selected = grouped(rows, "select")
    assert set(selected) == expected
    assert {len(scores) for scores in selected.values()} == {SELECT}


def test_the_winners_and_only_they_are_confirmed(rows):
    confirmed = grouped(rows, "confirm")
    assert set(confirmed) == {(family, winner_of(rows, family), 20) for family in FAMILIES}
    assert {len(scores) for scores in confirmed.values()} == {CONFIRM}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_winner_is_the_best_of_its_family(rows, winners, family):
    candidate = winner_of(rows, family)
    entry, row = winners[family], rows["confirm", family, candidate, 20, 0]
    confirmed = grouped(rows, "confirm")[family, candidate, 20]
    assert (entry["candidate"], entry["base_lr"]) == (candidate, row["base_lr"])
    assert entry["base_lr_at_edge"] == (not 0.05 <= math.log(row["base_lr"] / 0.1) / math.log(40) <= 0.95)
    assert entry["params"] == row["params"]
    assert entry["score"]["value"] == statistics.median(confirmed)
    assert min(confirmed) <= entry["score"]["low"] <= entry["score"]["value"] <= entry["score"]["high"]
    assert entry["score"]["high"] <= max(confirmed)
    assert (entry["replicates"], entry["diverged"]) == (CONFIRM, 0)
    losses = [
        row["metrics"]["train_loss"]
        for (stage, name, *_), row in rows.items()
        if (stage, name) == ("confirm", family)
    ]
    assert entry["metrics"] == {"train_loss": statistics.median(losses)}


def test_winners_are_ranked_and_compared_by_their_confirmed_medians(rows, winners):
    medians = {
        family: statistics.median(grouped(rows, "confirm")[family, winner_of(rows, family), 20])
        for family in FAMILIES
    }
    assert list(winners) == sorted(FAMILIES, key=medians.__getitem__)
    for family, entry in winners.items():
        references = [name for name in ("cosine", "constant") if name != family]
        assert list(entry["change_against"]) == references
        for name in references:
            change = medians[family] / medians[name] - 1
            assert entry["change_against"][name]["value"] == pytest.approx(change, rel=1e-12)
    assert next(iter(winners.values()))["ties_with_best"] is False


def test_the_journal_holds_what_was_asked_and_no_more(rows):
    screened = sum(RUNGS[steps] for _, _, steps in grouped(rows, "screen"))
    assert len(rows) == screened + len(FAMILIES) * (TOP * SELECT + CONFIRM)


def test_every_parameter_is_drawn_from_the_specified_range(rows):
    """Specification §1: warm-ups 0–0.3, rex's β log-uniform, the two-point ranges of the paper's code."""
    ranges = {
        "rex": {"warmup": (0, 0.3), "beta": (0.01, 10)},
        "cosine": {"warmup": (0, 0.3)},
        "constant": {"warmup": (0, 0.3)},
        "two_point_linear": {"x0": (0.01, 0.25), "y1": (0.1, 1), "dx1": (0, 1), "dx2": (0, 1), "dy2": (0, 1)},
    }
    drawn = {}
    for (_, family, candidate, *_), row in rows.items():
        assert list(row["params"]) == list(ranges[family])
        for name, (low, high) in ranges[family].items():  # the ends as float32 has them
            assert np.float32(low) <= row["params"][name] <= np.float32(high)
        asked = {**row["params"], "base_lr": row["base_lr"]}
        assert drawn.setdefault((family, candidate), asked) == asked
    assert len({json.dumps(asked) for asked in drawn.values()}) == len(drawn) == len(FAMILIES) * CANDIDATES


@pytest.mark.usefixtures("no_report")
@pytest.mark.usefixtures("no_report")
def test_another_seed_draws_other_shapes_and_other_runs(tmp_path, rows, tiny_config, journal_rows):
    STUDY.run(tiny_config(seed=1, families=("rex",)), tmp_path)
    others = journal_rows(tmp_path)
    same = {key for key in set(rows) & set(others) if key[0] == "screen"}
    assert len(same) > len(others) // 3
    assert all(rows[key]["params"] != others[key]["params"] for key in same)
    assert all(rows[key]["score"] != others[key]["score"] for key in same)
