"""A small study of searches of all shapes, against NumPy on its journal; its claims on made-up results."""

import json

import numpy as np
import pytest

from experiments.search_efficiency import AllShapes
from experiments.search_efficiency.all_shapes.config import DEFAULT, Contestant
from experiments.search_efficiency.all_shapes.findings import claims
from experiments.search_efficiency.all_shapes.judging import Excesses, difference, ratio, worse_end
from experiments.search_efficiency.all_shapes.runs import Known, Results
from experiments.study.options.errors import StudyError
from experiments.study.storage.journal import Tally
from schedules import FAMILIES, CurveModel
from schedules.search import Candidate, Scale
from tests.experiments.journals import runs_of

STEPS, CHECKPOINTS, RUNS, SEARCHES = 20, (16, 24), 24, 2
RUNS_A_SEED = {"curves/all": 8, "trust_region/rex": 1, "random/rex": 1}

in_one_worker = pytest.mark.xdist_group("search_efficiency_all_shapes")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("search_efficiency_all_shapes").folder


@pytest.fixture(scope="module")
def rows(folder):
    return runs_of(folder)


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "winners.json").read_text())


def shape(row):
    return row["group"], tuple(row["params"].items()), row["base_lr"]


def searched(rows, contestant, seed):
    return [row for row in rows if row["stage"] == f"{contestant} {seed}, screen"]


def curve(row):
    return row["base_lr"] * np.asarray(FAMILIES[row["group"]].multipliers(row["params"], STEPS))


def chosen(search, runs, contestant):
    """The shape of the lowest score so far; of curves, of the lowest mean under a model of those runs."""
    so_far = [row for row in search if row["replicate"] * RUNS_A_SEED[contestant] < runs]
    if contestant != "curves/all":
        return shape(min(so_far, key=lambda row: row["score"]))
    curves, scores = np.stack([curve(row) for row in so_far]), np.array([row["score"] for row in so_far])
    model = CurveModel.fit(curves, scores, [row["replicate"] for row in so_far])
    return shape(so_far[int(np.argmin(model.means(curves)))])


@in_one_worker
@pytest.mark.parametrize("contestant", RUNS_A_SEED)
def test_choices_are_judged_by_how_far_fresh_seeds_find_them_above_the_best(rows, content, contestant):
    finals = {}
    for row in rows:
        if row["stage"] == "finals":
            finals.setdefault(shape(row), []).append(row["score"])
    assert {len(scores) for scores in finals.values()} == {7}
    best = min(np.median(scores) for scores in finals.values())
    assert content["best_known"]["score"] == best
    entries = [entry for entry in content["contestants"] if entry["contestant"] == contestant]
    assert [entry["runs"] for entry in entries] == list(CHECKPOINTS)
    for entry in entries:
        expected = []
        for seed in range(SEARCHES):
            search = searched(rows, contestant, seed)
            named = chosen(search, entry["runs"], contestant)
            scores = [row["score"] for row in rows if row["stage"] == "judge" and shape(row) == named]
            assert len(scores) == 5
            expected.append(np.median(scores) / best - 1)
        assert entry["excesses"] == pytest.approx(expected)
        assert entry["percentile_90"] == pytest.approx(max(expected))  # of two
        assert entry["median_excess"]["value"] == pytest.approx(np.mean(expected))


@in_one_worker
def test_every_search_has_as_many_runs_with_seeds_of_its_own(rows):
    for contestant, runs_a_seed in RUNS_A_SEED.items():
        for seed in range(SEARCHES):
            replicates = sorted(row["replicate"] for row in searched(rows, contestant, seed))
            assert replicates == [number // runs_a_seed for number in range(RUNS)]
    assert {row["group"] for row in searched(rows, "random/rex", 0)} == {"rex"}
    assert len({row["group"] for row in searched(rows, "curves/all", 0)}) > 1
    assert sum(row["stage"].startswith("best known") for row in rows) <= 24


def test_nine_of_ten_searches_are_at_most_the_worse_end():
    assert worse_end(np.array([np.inf, *[0.01] * 16, 0.17, 0.18, np.inf])) == 0.18  # of 20, the 18th
    assert worse_end(np.array([np.inf, *[0.01] * 9])) == 0.01  # of 10, the 9th


def made_up(columns, incumbents, runs=(24, 160)):
    """Results with these excesses, the same at all checkpoints but of the first contestant."""
    held = {DEFAULT: Excesses(DEFAULT, np.array(columns).T)}
    for name, values in incumbents.items():
        contestant = Contestant.named(name)
        held[contestant] = Excesses(contestant, np.tile(np.array(values)[:, None], len(runs)))
    config = AllShapes(contestants={str(name): len(e.values) for name, e in held.items()}, checkpoints=runs)
    known = Known(Candidate(FAMILIES["linear"], 0, {"warmup": 0.0}, 0.1), 1.0, "nowhere")
    return Results(config, known, None, Scale.RELATIVE, held, {}, Tally(0, 0, 0.0))


FEW = np.linspace(0.2, 0.4, 20)


@pytest.mark.parametrize(
    ("ends", "held"),
    [
        ([0.04] * 18 + [0.09] * 2, [True, True, True, True]),
        ([0.09] * 18 + [0.17] * 2, [True, True, False, True]),
        ([0.09] * 17 + [0.19] * 3, [True, False, False, False]),
        ([0.11] * 20, [False, True, False, False]),
    ],
)
def test_the_claims_on_nearness_are_about_the_last_choices(ends, held):
    assert [claim.held for claim in claims(made_up([[0.5] * 20, ends], {}))] == held


def test_the_claims_on_incumbents_are_about_the_luckiest_at_each_checkpoint():
    lucky, steady = FEW - 0.1, np.full(20, 0.24)
    results = made_up([FEW + 0.1, FEW / 10], {"tpe/wsd": lucky, "gp/all": steady, "tpe/all": FEW})
    medians = [claim for claim in claims(results) if "luckiest" in claim.statement]
    assert [(claim.subject, claim.held) for claim in medians] == [
        ("tpe/wsd at 24", False),
        ("tpe/wsd at 160", True),
    ]
    assert medians[0].effect.value == pytest.approx(0.2)
    (spread,) = (claim for claim in claims(results) if "90th" in claim.statement)
    assert (spread.subject, spread.held) == ("gp/all at 160", True)
    assert spread.effect.value == pytest.approx(worse_end(FEW) / 10 / 0.24)


def test_the_interval_of_a_difference_is_that_of_two_independent_samples():
    normal = np.random.default_rng(0).normal
    first, other = (Excesses(DEFAULT, normal(mean, 1, (400, 1))) for mean in (1, 3))
    expected = np.sqrt(np.pi / 2 * 2 / 400)  # the standard error of the difference of two medians
    gap = difference(first, other, 0, 0.95)
    assert gap.value == np.median(first.values) - np.median(other.values)
    assert (gap.high - gap.low) / 2 == pytest.approx(1.96 * expected, rel=0.25)


def test_what_never_ends_is_as_far_as_can_be():
    diverging = Excesses(DEFAULT, np.array([[0.1], [np.inf], [np.inf]]))
    other = Excesses(DEFAULT, np.array([[0.1], [0.2], [0.3]]))
    assert difference(diverging, other, 0, 0.95).high == np.inf
    assert ratio(diverging, other, 0, 0.95).high == np.inf
    assert difference(diverging, diverging, 0, 0.95)[1:] == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("contestants", "told"),
    [
        ({"tpe/wsd": 2}, "curves/all is what is judged"),
        ({"curves/all": 1}, r"must be in \[2, 10000\] searches, got 1 for curves/all"),
        ({"curves/all": 2, "tpe/wds": 2}, "did you mean 'tpe/wsd'"),
        ({"curves/all": 2, "random/all": 2}, "there is no 'random/all'"),
        ({"curves/all": 2, "tpe/rex": 2}, "tpe/rex searches what is not among the families"),
    ],
)
def test_contestants_that_cannot_be_are_told(contestants, told):
    with pytest.raises(StudyError, match=told):
        AllShapes(contestants=contestants, families=("wsd", "linear"))
