"""A small study of loss prediction from the command line: its schedules, laws, findings and resumption."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.loss_prediction import main
from schedules import FAMILIES
from tests.experiments.estimates import ends
from tests.experiments.journals import forget_runs
from tests.experiments.small_study import SmallStudy
from workloads import LongSweep

STEPS, LARGEST, SHARE = 24, 1.0, 0.3
FAMILIES_DRAWN, SHAPES, FIT, SEEDS, CONFIRM = ("rex", "wsd"), 6, 6, 4, 5
OPTIONS = {
    "--workload-options": ["dimension", 8],
    "--batch-size": [4],
    "--num-steps": [STEPS],
    "--largest-rate": [LARGEST],
    "--smallest-share": [SHARE],
    "--curve-points": [6],
    "--fit-replicates": [FIT],
    "--families": FAMILIES_DRAWN,
    "--shapes": [SHAPES],
    "--choose-replicates": [SEEDS],
    "--score-replicates": [SEEDS],
    "--best-fraction": [0.4],
    "--confirm-replicates": [CONFIRM],
    "--devices": [2],
}
POOLS = ("equal Σ LR", "any LR")
LAWS = ("law", "law with warm-up")


STUDY = SmallStudy(main, OPTIONS)
called, options = STUDY.called, STUDY.options


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return STUDY.finish(tmp_path_factory.mktemp("loss_prediction") / "study")


@pytest.fixture(scope="module")
def found(finished):
    return json.loads((finished[0] / "winners.json").read_text())


@pytest.fixture(scope="module")
def rows(finished, journal_rows):
    return journal_rows(finished[0])


def rates_of(family, row):
    return row["base_lr"] * np.asarray(FAMILIES[family].multipliers(row["params"], STEPS), np.float64)


def by_schedule(rows, stage, pool):
    """(family, number) → the learning rates and the scores by replicate of an unseen schedule."""
    of_pool = {i: row for i, row in rows.items() if i[0] == stage and i[2] // SHAPES == pool}
    names = dict.fromkeys((i[1], i[2]) for i in of_pool)
    return {
        name: (
            rates_of(name[0], of_pool[stage, *name, STEPS, 0]),
            [row["score"] for i, row in of_pool.items() if i[1:3] == name],
        )
        for name in names
    }


def law_at_the_end(law, rates):
    """The law from its formula, in NumPy."""
    constants = law["constants"]
    falls = np.concatenate([[0], rates[:-1]]) - rates
    left = np.cumsum(rates[::-1])[::-1]
    counted = (left > 0) & (law["count_warmup"] | (np.cumsum(falls > 0) > 0))
    with np.errstate(divide="ignore", over="ignore"):
        x = rates[counted] ** -constants["gamma"] * left[counted]
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
    confirmed = len({identity[1:4] for identity in rows if identity[0] == "confirm"})
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


def test_the_tables_and_the_report_say_what_the_winners_file_says(finished, found):
    folder, output = finished
    report = (folder / "report.html").read_text()
    for claim in found["claims"]:
        (low, high), expected = ends(claim["effect"]), claim["expected"].split()
        bound = float(expected[1])
        held = low > bound if expected[0] == "above" else high < bound
        assert claim["held"] == held
        cell = f"{claim['effect']['value']:.3g} [{low:.3g}, {high:.3g}]"
        assert cell in output
        assert cell in report
    assert found["verdict"] in " ".join(output.split())
    assert report.count("data:image/png;base64,") == 3


def test_a_study_that_lost_runs_resumes_to_the_same_results(
    finished, rows, journal_rows, tmp_path, monkeypatch
):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    assert forget_runs(copy, "stage = 'fit' AND replicate > 0")
    assert forget_runs(copy, "stage = 'score' AND candidate > 1")
    trained = []
    whole = LongSweep.whole
    monkeypatch.setattr(LongSweep, "whole", lambda *a: trained.append(a) or whole(*a))
    assert called(*options(), "--folder", copy)[0] == 0
    assert trained
    assert journal_rows(copy) == rows
    assert (copy / "winners.json").read_bytes() == (finished[0] / "winners.json").read_bytes()


def test_the_report_is_drawn_again_without_a_run_and_never_of_an_unfinished_study(
    finished, tmp_path, no_training
):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    (copy / "winners.json").unlink()
    status, output = called("report", copy)
    assert status == 0
    assert (copy / "winners.json").read_bytes() == (finished[0] / "winners.json").read_bytes()
    assert output.replace(str(copy), str(finished[0])) in finished[1]
    assert forget_runs(copy, "stage = 'fit' AND replicate = 0")
    status, output = called("report", copy)
    assert status == 2
    assert "not finished" in output


def test_a_fitted_run_that_diverges_is_a_message(tmp_path):
    status, output = called(*options(largest_rate=[1e4]), "--folder", tmp_path / "study")
    assert status == 2
    assert "largest_rate" in output
    assert "diverged" in output


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizer": ["sdg"]}, ["optimizer", "sdg", "'sgd'"]),
        ({"families": ["rx"]}, ["families", "'rx'", "'rex'"]),
        ({"families": ["rex", "rex"]}, ["families", "once each"]),
        ({"metric": ["test_loss"]}, ["metric", "test_loss", "train_loss"]),
        ({"largest_rate": [0]}, ["largest_rate", "positive", "0.0"]),
        ({"smallest_share": [1.5]}, ["smallest_share", "between 0 and 1", "1.5"]),
        ({"smallest_share": [0.98]}, ["smallest_share", "too few shapes of rex", "0.98"]),
        ({"curve_points": [30]}, ["num_steps", "curve_points=30", "24"]),
        ({"best_fraction": [0.1]}, ["best_fraction", "at least 3 of 12", "0.1"]),
        ({"score_replicates": [0]}, ["score_replicates", "at least 1", "0"]),
        ({"confidence": [95]}, ["confidence", "95"]),
    ],
)
def test_bad_options_are_messages_and_nothing_is_trained(changes, words, tmp_path, no_training):
    status, output = called(*options(**changes), "--folder", tmp_path / "study")
    assert status == 2
    assert all(word in output for word in words), output
