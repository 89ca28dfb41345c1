"""Critical batch sizes: runs against a plain loop, what follows from them against laws known beforehand."""

import contextlib
import functools
import io
import json
import math
import shutil
import sqlite3
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import workloads
from experiments.critical_batch_size import Config, main
from experiments.critical_batch_size.claims import (
    decay_effects,
    momentum_claims,
    momentum_effects,
    optimizer_claims,
    prediction_claims,
)
from experiments.critical_batch_size.critical import Resampled, critical_batch
from experiments.critical_batch_size.measured import Curve, noise_to_target
from experiments.critical_batch_size.prediction import predictions, quality
from experiments.critical_batch_size.trials import Trial
from experiments.critical_batch_size.variants import Variant
from experiments.study import tuning
from experiments.study.noise import FreshNoise
from experiments.study.optimizers import OPTIMIZERS
from geometry import HYPERBOLA, INVERSE, INVERSE_ROOT, BatchLaw

DIMENSION, BATCHES, TARGET, REPLICATES = 16, (2, 4, 8), 0.06, 3
NOISE_BATCH, PARTS = 16, 4
OPTIONS = {
    "--workload": ["linear_regression"],
    "--workload-options": ["dimension", DIMENSION],
    "--target": [TARGET],
    "--optimizers": ["momentum"],
    "--momenta": [0.5],
    "--momentum-optimizers": ["momentum"],
    "--decays": [0.25],
    "--decay-optimizers": ["momentum"],
    "--batch-sizes": BATCHES,
    "--least-steps": [20],
    "--max-samples": [80],
    "--evaluation-ratio": [1.3],
    "--first-rates": [3],
    "--more-rates": [1],
    "--screen-replicates": [1],
    "--confirm-replicates": [REPLICATES],
    "--noise-points": [4],
    "--noise-batch": [NOISE_BATCH],
    "--noise-parts": [PARTS],
    "--devices": [2],
}
VARIANTS = ("momentum", "momentum β=0.5", "momentum λ=0.25")


def called(*words):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = main([str(word) for word in words])
    return status, output.getvalue()


def options(**changes):
    chosen = {**OPTIONS, **{f"--{name.replace('_', '-')}": value for name, value in changes.items()}}
    return [word for name, values in chosen.items() for word in (name, *values)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("critical") / "study"
    status, output = called(*options(), "--folder", folder)
    assert status == 0, output
    return folder, output


def named(key, name):
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def gradient_of(weights, rows):
    """Of (D/2) mean((rows w)²)."""
    return DIMENSION * rows.T @ (rows @ weights) / len(rows)


def plain_run(rate, momentum, decay, batch_size, replicate, num_steps):
    """The loss after every update of heavy ball, the weights before each, and the key of its probes."""
    workload = workloads.load("linear_regression", dimension=DIMENSION)
    root = np.asarray(workload.data, np.float64)
    key = jax.random.fold_in(named(jax.random.key(0), "confirm"), replicate)
    init, order, _, probing = jax.random.split(key, 4)
    weights, sums = np.asarray(workload.init(init), np.float64), 0.0
    losses, path = [], []
    for rows in np.asarray(workload.indices(order, batch_size, num_steps)):
        path.append(weights)
        sums = momentum * sums + gradient_of(weights, root[rows])
        weights = weights - rate * (sums + decay * weights)
        losses.append(np.mean((root @ weights) ** 2) / 2)
    return np.array(losses), path, probing


def crossing(losses, steps):
    """By NumPy's interpolation of the curve between the two evaluations around the target."""
    below = next(k for k, step in enumerate(steps) if losses[step - 1] <= TARGET)
    around = np.array(steps[below - 1 : below + 1])
    return np.interp(-TARGET, -losses[around - 1], around)


@pytest.mark.parametrize(("name", "momentum", "decay"), [(VARIANTS[1], 0.5, 0), (VARIANTS[2], 0.9, 0.25)])
def test_steps_and_noise_scales_are_those_of_a_plain_loop(finished, journal_rows, name, momentum, decay):
    rows = journal_rows(finished[0]).items()
    (row,) = [row for i, row in rows if (*i[:2], i[4]) == ("confirm", f"{name} @ 4", 2)]
    assert row["params"] == {"batch_size": 4, "momentum": momentum, "weight_decay": decay}
    losses, path, probing = plain_run(row["base_lr"], momentum, decay, 4, 2, num_steps=40)
    assert row["score"] == pytest.approx(
        crossing(losses, (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29, 38, 40)), rel=1e-3
    )
    assert row["metrics"]["steps"] == row["score"]
    assert row["metrics"]["train_loss"] == pytest.approx(losses[-1], rel=1e-3)
    for step in (0, 10, 20, 30):
        key = jax.random.fold_in(probing, step)
        workload = workloads.load("linear_regression", dimension=DIMENSION)
        (chosen,) = np.asarray(workload.indices(key, NOISE_BATCH, 1))
        examples = np.asarray(workload.data, np.float64)[chosen].reshape(PARTS, -1, DIMENSION)
        expected = noise_scales([[gradient_of(path[step], part)] for part in examples], NOISE_BATCH)
        found = {one: row["metrics"][f"noise_{one}@{step}"] for one in expected}
        assert found == pytest.approx(expected, rel=5e-3)


def test_fresh_noise_is_that_of_its_examples_in_every_geometry():
    digits, key = workloads.load("digits"), jax.random.key(3)
    params = jax.jit(digits.init)(jax.random.key(1))
    (rows,) = digits.indices(key, 16, 1)
    gradient = jax.jit(lambda rows: jax.grad(digits.loss)(params, digits.batch(digits.data, rows), key))
    parts = [jax.tree.leaves(gradient(part)) for part in rows.reshape(2, 8)]
    found = jax.jit(FreshNoise(digits, examples=16, parts=2).scales)(params, digits.data, key)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        noise_scales(parts, 16), rel=1e-3
    )


def noise_scales(parts, examples):
    """From the definitions in float64: of each part the gradients of all leaves."""
    noise, signal = np.zeros(3), np.zeros(3)
    factor = examples / len(parts)  # of the variance between means of so many examples
    for leaf in zip(*parts, strict=True):
        stack = np.array(leaf, np.float64)
        mean, deviations = stack.mean(axis=0), np.sqrt(factor * stack.var(axis=0, ddof=1))
        sign = spectral = np.array([deviations.sum(), np.abs(mean).sum()])
        if mean.ndim == 2:
            turned = stack if stack.shape[1] <= stack.shape[2] else stack.transpose(0, 2, 1)
            around = turned - turned.mean(axis=0)
            covariance = factor * sum(one @ one.T for one in around) / (len(parts) - 1)
            roots = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
            spectral = np.array([roots.sum(), np.linalg.norm(mean, "nuc")])
        noise += [np.sum(deviations**2), sign[0], spectral[0]]
        signal += [np.sum(mean**2), sign[1], spectral[1]]
    ratios = noise / signal
    return {"euclidean": ratios[0], "sign": ratios[1] ** 2, "spectral": ratios[2] ** 2}


def test_screening_measures_no_noise_and_every_variant_gets_as_many_runs(finished, journal_rows):
    rows = journal_rows(finished[0])
    groups = {f"{name} @ {size}" for name in VARIANTS for size in BATCHES}
    assert {i[1] for i in rows} == groups
    for group in groups:
        of_group = {i: row for i, row in rows.items() if i[1] == group}
        noisy = {i for i, row in of_group.items() if any("noise" in name for name in row["metrics"])}
        assert noisy == {i for i in of_group if i[0] == "confirm"}
        assert (len(of_group), len(noisy)) == (4 + REPLICATES, REPLICATES)


def test_a_run_that_never_gets_there_is_kept_and_scores_infinity(finished, journal_rows):
    rows = journal_rows(finished[0])
    never = {i: row for i, row in rows.items() if math.isinf(row["score"])}
    assert {i[0] for i in never} == {"screen", "confirm"}
    for row in never.values():
        assert row["metrics"]["steps"] is None
        assert row["metrics"]["train_loss"] is None or row["metrics"]["train_loss"] > 0.1 * TARGET
    points = {
        (winner["momentum"], winner["weight_decay"], point["batch_size"]): point
        for winner in json.loads((finished[0] / "winners.json").read_text())["winners"]
        for point in winner["batches"]
    }
    names = {(0.9, 0.0): VARIANTS[0], (0.5, 0.0): VARIANTS[1], (0.9, 0.25): VARIANTS[2]}
    for (momentum, decay, size), point in points.items():
        group = f"{names[momentum, decay]} @ {size}"
        missed = [i for i in never if i[:2] == ("confirm", group)]
        assert (point["replicates"], point["not_reached"]) == (REPLICATES, len(missed))


def test_seeds_are_shared_by_all_that_is_compared():
    root = jax.random.key(0)

    def key_of(variant, size, place, replicate):
        setting = tuning.Setting("any", place, 0.1, 0.0)
        trial = Trial(variant, size, tuning.Trial("confirm", setting, 0, replicate))
        return tuple(jax.random.key_data(trial.key(root)).tolist())

    variants = Config().variants
    shared = {key_of(v, size, place, 0) for v in variants for size in (8, 512) for place in (-1, 2)}
    assert len(shared) == 1
    assert key_of(variants[0], 8, 0, 1) not in shared


@pytest.mark.parametrize("name", ["momentum", "adam", "adamw", "signum", "muon", "orth_dion"])
def test_the_usual_momentum_is_the_optimizer_as_it_is_and_another_may_be_traced(name):
    params = {"hidden": jnp.arange(6.0).reshape(2, 3) / 7, "bias": jnp.ones(3)}
    optimizer = OPTIMIZERS[name]

    def two_steps(build):
        transformation = build(lambda count: 0.1)
        state, moved = transformation.init(params), params
        for scale in (1.0, -0.3):
            gradients = jax.tree.map(lambda w, scale=scale: scale * jnp.cos(9 * w), moved)
            updates, state = transformation.update(gradients, state, moved)
            moved = jax.tree.map(jnp.add, moved, updates)
        return moved

    @jax.jit
    def with_momentum(momentum):
        return two_steps(lambda schedule: optimizer.with_momentum(schedule, 0.01, momentum))

    usual = jax.jit(lambda: two_steps(lambda schedule: optimizer.build(schedule, 0.01)))()
    for leaf, chosen in with_momentum(optimizer.usual_momentum).items():
        np.testing.assert_allclose(chosen, usual[leaf], rtol=2e-4, atol=2e-4)
    assert np.any(np.abs(with_momentum(0.25)["hidden"] - usual["hidden"]) > 1e-3)


CONFIG = Config(
    optimizers=("momentum", "adamw", "signum", "muon"),
    momenta=(0.0, 0.5),
    momentum_optimizers=("signum", "muon"),
    decays=(0.1,),
    decay_optimizers=("adamw",),
    batch_sizes=(8, 32, 64, 128, 512),
    least_steps=100,
    max_samples=16_000,
)
SEEDS = np.exp(np.random.default_rng(0).normal(scale=0.05, size=(4, 1)))  # slow or fast at every batch size


def made_up(law, noise=10.0):
    """The curve of four seeds that follow a law but for a factor of the seed, beyond their horizon never."""
    sizes = np.array(CONFIG.batch_sizes)
    steps = SEEDS * law.steps(sizes)[None]
    horizons = np.array([CONFIG.horizon(size) for size in sizes])
    steps[steps > horizons] = math.inf
    constant = np.full(steps.shape, noise)
    flat = np.ones(len(sizes))
    scales = {name: k * constant for k, name in enumerate(("euclidean", "sign", "spectral"), start=1)}
    return Curve(steps, scales, flat, flat > 0, 0 * flat)


@pytest.mark.parametrize("form", [HYPERBOLA, INVERSE_ROOT, INVERSE])
def test_a_known_law_is_recovered_and_recognised_with_its_smallest_batches_never_there(form):
    law = BatchLaw(form, 15.0, 12.0 if form is not HYPERBOLA else 1_200.0)
    curve = made_up(law)
    assert np.isinf(curve.steps[:, 0]).all()
    assert np.isfinite(curve.steps[:, -1]).all()
    found = critical_batch(curve, CONFIG)
    assert found.best_form == form.name
    estimate = found.by_form(form.name).estimate(0.95)
    expected = {"hyperbola": 1_200, "inverse_root": 27, "inverse": 24}[form.name]
    assert estimate == pytest.approx((expected,) * 3, rel=0.05)  # seeds at all sizes alike leave it sure
    samples = np.array(CONFIG.batch_sizes) * law.steps(np.array(CONFIG.batch_sizes))
    reached = np.isfinite(np.median(curve.steps, axis=0))
    fewest = CONFIG.batch_sizes[int(np.argmin(np.where(reached, samples, np.inf)))]
    assert found.fewest_samples.value == fewest


def test_the_noise_scale_of_a_run_is_its_mean_before_the_target():
    runs = [
        {f"noise_sign@{step}": value for step, value in zip((0, 10, 20), row, strict=True)}
        for row in ((1.0, 3.0, 101.0), (1.0, 3.0, 101.0), (2.0, math.nan, math.nan), (math.nan,) * 3)
    ]
    means = noise_to_target("sign", runs, np.array([15.0, math.inf, math.inf, math.inf]), range(0, 30, 10))
    np.testing.assert_array_equal(means, [2, 35, 2, np.nan])


@functools.cache
def known(critical, noise=10.0):
    return critical_batch(made_up(BatchLaw(HYPERBOLA, 20.0, critical), noise), CONFIG)


def test_claims_follow_from_known_critical_batches():
    criticals = {variant: known(64.0) for variant in CONFIG.variants}
    criticals[Variant.usual("muon")] = known(128.0)
    criticals[Variant.usual("signum")] = known(160.0)
    criticals[Variant("signum", 0.0)] = known(320.0)
    criticals[Variant("adamw", 0.9, 0.1)] = known(16.0)
    claims = {claim.subject: claim for claim in optimizer_claims(criticals, CONFIG)}
    assert {name: bool(claim.held) for name, claim in claims.items()} == {
        "adamw": True,
        "momentum": True,
        "signum": False,
    }
    assert claims["adamw"].effect == pytest.approx((2,) * 3, rel=1e-3)
    more = {claim.subject: claim for claim in momentum_claims(criticals, CONFIG)}
    assert {name: bool(claim.held) for name, claim in more.items()} == {
        "signum, β 0 to 0.9": True,
        "muon, β 0 to 0.95": False,
    }
    # V(.9) = (1 - .9)/(1 + .9), and Nesterov's V(.95) = (1 - .95²)² + .95⁴ (1 - .95)/(1 + .95)
    expected = {"signum": [(0.5, 1 / 3), (0.9, 0.1 / 1.9)], "muon": [(0.5, 0.5833333), (0.95, 0.0303910)]}
    for name, rows in expected.items():
        effects = momentum_effects(name, criticals, CONFIG)
        assert [(e.after.momentum, pytest.approx(e.theory, rel=1e-5)) for e in effects] == rows
    (effect,) = decay_effects(criticals, CONFIG)
    assert (effect.after.name, effect.theory) == ("adamw λ=0.1", None)
    assert effect.ratio.value == pytest.approx(0.25, rel=1e-3)


def test_a_noise_scale_that_is_a_quarter_of_every_critical_batch_predicts_them_but_for_that_factor():
    critical = np.array([[32.0, 64.0, 256.0, 128.0], [32.0, 64.0, math.inf, 128.0]])
    found = quality(critical, critical[:1].repeat(2, axis=0) / 4)
    np.testing.assert_allclose(found, [[4, 4], [2, 2], [0, 0], [1, 1]])
    shuffled = quality(critical[:1], np.array([[10.0, 50.0, 20.0, 40.0]]))
    logs = np.log2(critical[0] / [10, 50, 20, 40])
    assert float(shuffled.error[0]) == pytest.approx(np.sqrt(np.mean(logs**2)))
    assert float(shuffled.scatter[0]) == pytest.approx(np.sqrt(np.mean((logs - np.median(logs)) ** 2)))
    rank = stats.spearmanr(critical[0], [10, 50, 20, 40]).statistic
    assert float(shuffled.rank_correlation[0]) == pytest.approx(rank)
    assert np.isnan(quality(critical[:, :1], critical[:, :1]).error).all()


@pytest.mark.parametrize("better", ["own", "euclidean"])
def test_whether_the_own_geometry_predicts_better_is_what_the_numbers_say(better):
    """The sign and the spectral noise scale of a made-up curve are two and three times the Euclidean one."""
    criticals = {}
    for place, variant in enumerate(map(Variant.usual, CONFIG.optimizers)):
        critical = 20.0 * 2.0**place
        factor = {"euclidean": 1, "sign": 2, "spectral": 3}[variant.geometry.name]
        criticals[variant] = known(critical, critical / factor if better == "own" else critical)
    found = predictions(criticals)
    claims = prediction_claims(found, CONFIG)
    assert bool(claims[0].held) is (better == "own")
    assert bool(claims[1].held) is (better == "own")
    assert float(found[better].error[0]) == pytest.approx(0, abs=1e-3)


def test_what_is_not_determined_predicts_nothing_and_no_claim_holds_of_it():
    falling = BatchLaw(HYPERBOLA, 1e-9, 2e11)  # steps as 1/b: no critical batch in sight
    criticals = dict.fromkeys(CONFIG.variants, critical_batch(made_up(falling), CONFIG))
    assert not any(found.determined for found in criticals.values())
    assert np.isnan(predictions(criticals)["own"].error).all()
    assert not any(claim.held for claim in optimizer_claims(criticals, CONFIG))
    assert not any(claim.held for claim in prediction_claims(predictions(criticals), CONFIG))


def test_a_ratio_is_paired_by_resample():
    draws = np.linspace(1, 2, 1_000)
    ratio = Resampled(3.0, 3 * draws).over(Resampled(1.0, draws))
    assert ratio.estimate(0.95) == pytest.approx((3, 3, 3))


def test_rates_begin_around_the_root_of_the_batch_and_heavy_ball_s_around_what_its_sum_makes_of_them():
    adamw = Variant.usual("adamw")
    assert adamw.centre(256) == 2 * adamw.centre(64)
    heavy = {momentum: Variant("momentum", momentum).centre(64) for momentum in (0.0, 0.9)}
    assert heavy[0.0] == pytest.approx(10 * heavy[0.9])


def test_evaluations_grow_by_the_ratio_and_end_at_the_horizon():
    config = Config()
    for size in config.batch_sizes:
        steps = np.array(config.evaluated_steps(size))
        assert (steps[0], steps[-1]) == (1, 100 + 8_000 // size)
        assert np.all(np.diff(steps) >= 1)
        assert np.all(np.diff(steps) <= np.maximum(1, 0.15 * steps[:-1] + 0.5))
        assert 40 <= len(config.probed_steps(size)) <= 64


def test_the_table_and_the_report_say_what_the_winners_file_says(finished):
    folder, output = finished
    content = json.loads((folder / "winners.json").read_text())
    report = (folder / "report.html").read_text()
    assert {winner["optimizer"] for winner in content["winners"]} == {"momentum"}
    assert content["verdict"] in " ".join(output.split())
    for winner in content["winners"]:
        for point in winner["batches"]:
            if point["steps"]["value"] is not None:
                assert f"{point['steps']['value']:.3g} [" in report
    for claim in content["claims"]:
        assert claim["statement"] in output
        assert claim["statement"] in report
    assert report.count("data:image/png;base64,") == 4


def test_a_study_that_lost_runs_resumes_to_the_same_results(finished, journal_rows, tmp_path, monkeypatch):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    with contextlib.closing(sqlite3.connect(copy / "journal.sqlite")) as connection, connection:
        connection.execute("DELETE FROM trials WHERE family = 'momentum @ 4' AND replicate > 0")
        connection.execute("DELETE FROM trials WHERE family = 'momentum β=0.5 @ 4'")
    trained = []
    sweep = workloads.sweep
    monkeypatch.setattr(workloads, "sweep", lambda *a, **k: trained.append(a) or sweep(*a, **k))
    assert called(*options(), "--folder", copy)[0] == 0
    assert trained
    assert journal_rows(copy) == journal_rows(finished[0])
    assert (copy / "winners.json").read_text() == (finished[0] / "winners.json").read_text()


def test_the_report_is_drawn_again_without_a_run(finished, tmp_path, no_training):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    for path in (copy / "winners.json", copy / "report.html", *(copy / "figures").iterdir()):
        path.unlink()
    assert called("report", copy)[0] == 0
    for name in ("winners.json", "report.html", "figures/steps.png", "figures/effects.png"):
        assert (copy / name).read_bytes() == (finished[0] / name).read_bytes()


def test_an_unfinished_study_is_not_drawn(finished, tmp_path, no_training):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    with contextlib.closing(sqlite3.connect(copy / "journal.sqlite")) as connection, connection:
        connection.execute("DELETE FROM trials WHERE family = 'momentum @ 8' AND stage = 'confirm'")
    status, output = called("report", copy)
    assert status == 2
    assert "3 runs of the stage 'confirm' are missing" in " ".join(output.split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"optimizers": ["muom", "adamw"]}, ["optimizers", "'muom'", "'muon'"]),
        ({"optimizers": []}, ["optimizers", "at least"]),
        ({"momentum_optimizers": ["muon"]}, ["momentum_optimizers", "'muon'", "momentum"]),
        ({"momenta": [1.0]}, ["momenta", "[0, 1)", "1.0"]),
        ({"decays": [0.0]}, ["decays", "positive", "0.0"]),
        ({"batch_sizes": [64, 32, 16]}, ["batch_sizes", "ascending", "64"]),
        ({"batch_sizes": [8, 16]}, ["batch_sizes", "3", "8"]),
        ({"batch_sizes": [4, 8, 17]}, ["batch_size", "17"]),
        ({"metric": ["train_los"]}, ["metric", "'train_los'", "'train_loss'"]),
        ({"least_steps": [0]}, ["least_steps", "at least 1", "0"]),
        ({"evaluation_ratio": [1.0]}, ["evaluation_ratio", "above 1", "1.0"]),
        ({"confirm_replicates": [1]}, ["confirm_replicates", "at least 2", "1"]),
        ({"noise_batch": [66]}, ["noise_batch", "multiple", "4", "66"]),
        ({"noise_batch": [32]}, ["batch_size", "32"]),
        ({"target": ["nan"]}, ["target", "finite", "nan"]),
        ({"confidence": [95], "seed": [-1]}, ["confidence", "95", "seed", "-1"]),
    ],
)
def test_bad_options_are_messages_and_nothing_is_trained(changes, words, tmp_path, no_training):
    status, output = called(*options(**changes), "--folder", tmp_path / "study")
    assert status == 2
    assert all(word in output for word in words), output
