"""The search: what winners.json says follows from the journal's scores by the rules of the specification.

Everything is computed again from the journal with plain Python.
"""

import itertools
import json
import statistics

import pytest

from experiments.shape_search import run

RATES = (0.25, 0.5, 1.0, 2.0)
FAMILIES = ("rex", "two_point_linear", "cosine", "constant")
SHAPES, SCREEN, TOP, SELECT, CONFIRM, EXTENSIONS = 3, 3, 2, 3, 5, 4


def base_lr(rate):
    """The grid doubles, and goes on doubling past its edges."""
    return 0.25 * 2.0**rate


def grouped(rows, stage):
    """{(family, candidate, rate): the scores of its replicates in order}."""
    groups = {}
    for (row_stage, family, candidate, rate, replicate), row in sorted(rows.items()):
        if row_stage == stage:
            groups.setdefault((family, candidate, rate), {})[replicate] = row["score"]
    for scores in groups.values():
        assert list(scores) == list(range(len(scores)))
    return {key: list(scores.values()) for key, scores in groups.items()}


def curves(rows):
    """{(family, candidate): {rate: median screening score}}."""
    result = {}
    for (family, candidate, rate), scores in grouped(rows, "screen").items():
        result.setdefault((family, candidate), {})[rate] = statistics.median(scores)
    return result


def best(curve):
    """(score, rate) of the best rate, the smallest among equals."""
    return min((score, rate) for rate, score in curve.items())


def top_of(rows, family):
    scores = {
        candidate: (*best(curve)[:1], candidate, best(curve)[1])
        for (of_family, candidate), curve in curves(rows).items()
        if of_family == family
    }
    return [(candidate, rate) for _, candidate, rate in sorted(scores.values())[:TOP]]


def winner_of(rows, family):
    selected = grouped(rows, "select")
    medians = [
        (statistics.median(selected[family, candidate, rate]), candidate, rate)
        for candidate, rate in top_of(rows, family)
    ]
    return min(medians)[1:]


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


def test_every_shape_gets_every_rate_and_every_replicate(rows):
    groups = grouped(rows, "screen")
    asked = set(itertools.product(FAMILIES, range(SHAPES), range(len(RATES))))
    assert asked <= set(groups)
    assert {len(scores) for scores in groups.values()} == {SCREEN}


def test_learning_rates_past_the_grid_go_on_with_its_ratio(rows):
    assert all(
        row["base_lr"] == pytest.approx(base_lr(rate), rel=1e-12) for (*_, rate, _), row in rows.items()
    )
    assert any(rate >= len(RATES) for *_, rate, _ in rows)


def test_grids_grow_while_the_best_rate_is_on_the_edge_and_no_further(rows):
    for curve in curves(rows).values():
        expected = set(range(len(RATES)))
        while True:
            _, rate = best({rate: curve[rate] for rate in expected})
            beyond = min(expected) - 1 if rate == min(expected) else max(expected) + 1
            inside = min(expected) < rate < max(expected)
            if inside or not -EXTENSIONS <= beyond < len(RATES) + EXTENSIONS:
                break
            expected.add(beyond)
        assert set(curve) == expected


def test_the_top_shapes_and_only_they_are_selected_from(rows):
    expected = {(family, *pair) for family in FAMILIES for pair in top_of(rows, family)}
    selected = grouped(rows, "select")
    assert set(selected) == expected
    assert {len(scores) for scores in selected.values()} == {SELECT}


def test_the_winners_and_only_they_are_confirmed(rows):
    confirmed = grouped(rows, "confirm")
    assert set(confirmed) == {(family, *winner_of(rows, family)) for family in FAMILIES}
    assert {len(scores) for scores in confirmed.values()} == {CONFIRM}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_winner_is_the_best_of_its_family(rows, winners, family):
    candidate, rate = winner_of(rows, family)
    entry = winners[family]
    confirmed = grouped(rows, "confirm")[family, candidate, rate]
    measured = curves(rows)[family, candidate]
    assert (entry["candidate"], entry["base_lr"]) == (candidate, base_lr(rate))
    assert entry["base_lr_bracketed"] == (min(measured) < rate < max(measured))
    assert entry["params"] == rows["confirm", family, candidate, rate, 0]["params"]
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
        family: statistics.median(grouped(rows, "confirm")[family, *winner_of(rows, family)])
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
    screened = sum(len(curve) for curve in curves(rows).values()) * SCREEN
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
        assert all(low <= row["params"][name] <= high for name, (low, high) in ranges[family].items())
        drawn.setdefault((family, candidate), row["params"])
        assert drawn[family, candidate] == row["params"]
    assert len({json.dumps(params) for params in drawn.values()}) == len(drawn) == len(FAMILIES) * SHAPES


@pytest.mark.usefixtures("no_report")
def test_another_seed_draws_other_shapes_and_other_runs(tmp_path, rows, tiny_config, journal_rows):
    run(tiny_config(seed=1), tmp_path)
    others = journal_rows(tmp_path)
    same = set(rows) & set(others)
    assert len(same) > len(rows) // 2
    assert all(rows[key]["params"] != others[key]["params"] for key in same)
    assert all(rows[key]["score"] != others[key]["score"] for key in same)
