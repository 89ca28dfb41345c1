"""A small study of loss prediction: its schedules, its laws and what they say, again from its journal."""

import json
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from experiments.loss_prediction import STUDY
from experiments.study.options.errors import StudyError
from schedules import FAMILIES
from tests.experiments.small_study import config_of

STEPS, LARGEST, SHARE = 24, 1.0, 0.3
FAMILIES_DRAWN, SHAPES, FIT, SEEDS, CONFIRM = ("rex", "wsd"), 6, 6, 4, 5
POOLS = ("equal Σ LR", "any LR")
LAWS = ("law", "law with warm-up")

pytestmark = pytest.mark.xdist_group("loss_prediction")


@pytest.fixture(scope="module")
def folder(finished_studies):
    return finished_studies("loss_prediction").folder


@pytest.fixture(scope="module")
def found(folder):
    return json.loads((folder / "winners.json").read_text())


@pytest.fixture(scope="module")
def rows(folder, journal_rows):
    return journal_rows(folder)


def rates_of(family, row):
    return row["base_lr"] * np.asarray(FAMILIES[family].multipliers(row["params"], STEPS), np.float64)


def by_schedule(rows, stage, pool):
    """(family, number) → the learning rates and the scores by replicate of an unseen schedule."""
    pool_rows = {i: row for i, row in rows.items() if i[0] == stage and i[2] // SHAPES == pool}
    names = dict.fromkeys((i[1], i[2]) for i in pool_rows)
    return {
        name: (
            rates_of(name[0], pool_rows[stage, *name, STEPS, 0]),
            [row["score"] for i, row in pool_rows.items() if i[1:3] == name],
        )
        for name in names
    }


def law_at_the_end(law, rates):
    """The law from its formula, in NumPy."""
    constants = law["constants"]
    falls = np.concatenate([[0], rates[:-1]]) - rates
    remaining = np.cumsum(rates[::-1])[::-1]
    counted = (remaining > 0) & (law["count_warmup"] | (np.cumsum(falls > 0) > 0))
    with np.errstate(divide="ignore", over="ignore"):
        x = rates[counted] ** -constants["gamma"] * remaining[counted]
        shares = 1 - (constants["C"] * x + 1) ** -constants["beta"]
    reduction = constants["B"] * np.sum(falls[counted] * shares)
    return constants["L0"] + constants["A"] * rates.sum() ** -constants["alpha"] - reduction


def prediction(law, rates):
    """In five digits: equal sums of learning rates differ in later ones by float32's rounding."""
    return float(f"{law_at_the_end(law, rates):.5g}")


def lowest_predicted(law, scoring):
    return min(scoring, key=lambda name: prediction(law, scoring[name][0]))


def test_every_stage_has_its_runs_and_seeds(rows):
    runs = Counter(identity[0] for identity in rows)
    unseen = 2 * len(FAMILIES_DRAWN) * SHAPES * SEEDS
    confirmed = len({identity[1:3] for identity in rows if identity[0] == "confirm"})
    assert runs == {"fit": 6 * FIT, "choose": unseen, "score": unseen, "confirm": confirmed * CONFIRM}
    assert 4 <= confirmed <= 9


def test_unseen_shapes_have_equal_sums_in_one_pool_and_peaks_in_the_fitted_range_in_both(rows):
    schedules = [by_schedule(rows, "score", pool) for pool in (0, 1)]
    sums = [rates.sum() for rates, _ in schedules[0].values()]
    np.testing.assert_allclose(sums, SHARE * LARGEST * STEPS, rtol=1e-6)
    for identity, row in rows.items():
        assert SHARE * LARGEST * (1 - 1e-6) <= row["base_lr"] <= LARGEST * (1 + 1e-6), identity
    assert len({round(rates.sum(), 4) for rates, _ in schedules[1].values()}) == len(schedules[1])
    fitted = {row["base_lr"] for i, row in rows.items() if i[0] == "fit"}
    assert (min(fitted), max(fitted)) == pytest.approx((SHARE * LARGEST, LARGEST))


@pytest.mark.parametrize("name", LAWS)
def test_a_fit_s_error_is_that_of_its_constants_on_the_median_curves(found, rows, name):
    law, errors = found["laws"][name], []
    assert law["count_warmup"] == (name == "law with warm-up")
    for family, number in dict.fromkeys(i[1:3] for i in rows if i[0] == "fit"):
        replicates = [rows["fit", family, number, STEPS, replicate] for replicate in range(FIT)]
        rates = rates_of(family, replicates[0])
        for step in np.linspace(STEPS / 4, STEPS, 6).round().astype(int):
            measured = np.median([row["metrics"][f"train_loss@{step}"] for row in replicates])
            errors.append(np.log(law_at_the_end(law, rates[:step]) / measured))
        assert all(row["score"] == row["metrics"][f"train_loss@{STEPS}"] for row in replicates)
    assert len(errors) == 36
    assert law["fit_error"] == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)


def test_the_rank_correlations_are_scipys_on_the_journal(found, rows):
    entries = {(entry["pool"], entry["predictor"]): entry for entry in found["rank_correlations"]}
    told_nothing = entries.pop(("equal Σ LR", "-Σ LR"))  # which is the same for all
    assert (told_nothing["all"], told_nothing["best"]) == (None, None)
    best_count = round(0.4 * len(FAMILIES_DRAWN) * SHAPES)
    for place, pool in enumerate(POOLS):
        choosing, scoring = (by_schedule(rows, stage, place) for stage in ("choose", "score"))
        chosen, scored = ([np.median(s) for _, s in stage.values()] for stage in (choosing, scoring))
        rates = [rates for rates, _ in scoring.values()]
        predictors = {name: [prediction(law, row) for row in rates] for name, law in found["laws"].items()}
        predictors["other seeds"] = chosen
        if pool == "any LR":
            predictors["-Σ LR"] = [-row.sum() for row in rates]
        best = np.argsort(chosen)[:best_count]
        for name, predicted in predictors.items():
            entry = entries.pop((pool, name))
            expected = stats.spearmanr(predicted, scored).statistic
            among_best = stats.spearmanr(np.array(predicted)[best], np.array(scored)[best]).statistic
            assert entry["all"]["value"] == pytest.approx(expected), (pool, name)
            assert entry["best"]["value"] == pytest.approx(among_best), (pool, name)
    assert not entries


def test_what_is_contested_is_what_the_law_and_the_measurements_say(found, rows):
    contests = {(entry["pool"], entry["schedule"]): entry for entry in found["contests"]}
    for place, pool in enumerate(POOLS):
        choosing, scoring = (by_schedule(rows, stage, place) for stage in ("choose", "score"))
        chosen, scored = (
            {name: np.median(scores) for name, (_, scores) in stage.items()} for stage in (choosing, scoring)
        )
        best = sorted(chosen, key=chosen.get)[:5]
        picked = {
            "measured winner": min(best, key=scored.get),
            **{f"{law}: pick": lowest_predicted(found["laws"][law], scoring) for law in LAWS},
            "largest Σ LR": max(scoring, key=lambda name: scoring[name][0].sum()),
        }
        for schedule, (family, number) in picked.items():
            if (pool, schedule) not in contests:
                assert (pool, schedule) == ("equal Σ LR", "largest Σ LR")
                continue
            scores = [
                rows["confirm", family, number, STEPS, replicate]["score"] for replicate in range(CONFIRM)
            ]
            assert contests[pool, schedule]["family"] == family
            assert contests[pool, schedule]["score"]["value"] == np.median(scores)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_predicts_no_lower_loss_than_at_its_optimum(found, name):
    law = found["laws"][name]
    (entry,) = (entry for entry in found["contests"] if entry["schedule"] == f"{name}: optimum")
    optimum = law_at_the_end(law, rates_of(entry["family"], entry))
    rng = np.random.default_rng(0)
    family = FAMILIES["two_point_spline"]
    for _ in range(50):
        params = {name: rng.uniform(i.low, i.high) for name, i in family.space.items()}
        row = {"base_lr": LARGEST * SHARE ** rng.uniform(), "params": params}
        assert optimum <= law_at_the_end(law, rates_of("two_point_spline", row)) + 1e-4


def test_every_claim_is_made_of_both_pools(found):
    assert len(found["claims"]) == 2 * 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("--largest-rate 1e4", r"largest_rate: at least half of the runs of .* diverged"),
        ("--smallest-share 0.98", r"smallest_share: .*too few shapes of rex.*0\.98"),
    ],
)
def test_what_only_drawing_or_running_tells_is_a_message_too(changes, message, tmp_path):
    with pytest.raises(StudyError, match=message):
        STUDY.run(config_of("loss_prediction", changes), tmp_path / "study", devices=2)
