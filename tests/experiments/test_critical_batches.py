"""Critical batches, what predicts them and the claims about them, from curves of a law known beforehand."""

import functools
import math

import numpy as np
import pytest
from scipy import stats

from experiments.critical_batch_size import Config
from experiments.critical_batch_size.config import Variant
from experiments.critical_batch_size.critical import (
    Point,
    critical_batch,
    decay_effects,
    momentum_effects,
    noise_to_target,
    predictions,
    quality,
)
from experiments.critical_batch_size.findings import momentum_claims, optimizer_claims, prediction_claims
from experiments.study.statistics.resampled import Resampled
from experiments.study.training.tuning import Setting, Tuned
from geometry import HYPERBOLA, INVERSE, INVERSE_ROOT, BatchLaw

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
    constant = np.full(len(SEEDS), noise)
    scales = {name: k * constant for k, name in enumerate(("euclidean", "sign", "spectral"), start=1)}
    setting = Setting(0, 0.1)
    return [
        Point(Variant.usual("muon"), size, Tuned(setting, True, {}, seeds), scales, diverged=0)
        for size, seeds in zip(CONFIG.batch_sizes, steps.T, strict=True)
    ]


@pytest.mark.parametrize("form", [HYPERBOLA, INVERSE_ROOT, INVERSE])
def test_a_known_law_is_recovered_and_recognised_with_its_smallest_batches_never_there(form):
    law = BatchLaw(form, 15.0, 12.0 if form is not HYPERBOLA else 1_200.0)
    curve = made_up(law)
    steps = np.transpose([point.steps for point in curve])
    assert np.isinf(steps[:, 0]).all()
    assert np.isfinite(steps[:, -1]).all()
    found = critical_batch(curve, CONFIG)
    assert found.best_form == form.name
    estimate = found.by_form(form.name).estimate(0.95)
    expected = {"hyperbola": 1_200, "inverse_root": 27, "inverse": 24}[form.name]
    assert estimate == pytest.approx((expected,) * 3, rel=0.05)  # seeds at all sizes alike leave it sure
    samples = np.array(CONFIG.batch_sizes) * law.steps(np.array(CONFIG.batch_sizes))
    reached = np.isfinite(np.median(steps, axis=0))
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
def known(critical):
    return critical_batch(made_up(BatchLaw(HYPERBOLA, 20.0, critical), noise=1.0), CONFIG)


def with_noise(critical, noise):
    scales = {
        name: Resampled(noise * found.value, noise * found.draws, found.replicates)
        for name, found in known(critical).noise.items()
    }
    return known(critical)._replace(noise=scales)


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
    effects = [e for name in CONFIG.momentum_optimizers for e in momentum_effects(name, criticals, CONFIG)]
    (effect,) = decay_effects(criticals, CONFIG)
    more = {claim.subject: claim for claim in momentum_claims([*effects, effect])}
    assert {name: bool(claim.held) for name, claim in more.items()} == {
        "signum, β 0 to 0.9": True,
        "muon, β 0 to 0.95": False,
    }
    # V(.9) = (1 - .9)/(1 + .9), and Nesterov's V(.95) = (1 - .95²)² + .95⁴ (1 - .95)/(1 + .95)
    expected = {"signum": [(0.5, 1 / 3), (0.9, 0.1 / 1.9)], "muon": [(0.5, 0.5833333), (0.95, 0.0303910)]}
    for name, rows in expected.items():
        effects = momentum_effects(name, criticals, CONFIG)
        assert [(e.after.momentum, pytest.approx(e.theory, rel=1e-5)) for e in effects] == rows
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
        critical = 16.0 * 2.0**place
        factor = {"euclidean": 1, "sign": 2, "spectral": 3}[variant.geometry.name]
        criticals[variant] = with_noise(critical, critical / factor if better == "own" else critical)
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
    ratio = Resampled(3.0, 3 * draws, 30).over(Resampled(1.0, draws, 30))
    assert ratio.estimate(0.95) == pytest.approx((3, 3, 3))


def test_a_ratio_to_what_is_not_determined_is_not_known():
    """Also where only some resamples leave it so: they may hide anything."""
    bounded, unbounded = (
        Resampled(2.0, np.full(100, 2.0), 30),
        Resampled(math.inf, np.full(100, math.inf), 30),
    )
    for ratio in (
        bounded.over(unbounded),
        unbounded.over(bounded),
        bounded.over(Resampled(0.0, np.zeros(100), 30)),
    ):
        assert math.isnan(ratio.value)
        assert ratio.estimate(0.95)[1:] == (0, math.inf)
    mixed = bounded.over(Resampled(4.0, np.where(np.arange(100) < 10, math.inf, 4.0), 30))
    assert mixed.estimate(0.95) == (0.5, 0, math.inf)


def test_rates_begin_around_the_root_of_the_batch_and_heavy_ball_s_around_what_its_sum_makes_of_them():
    adamw = Variant.usual("adamw")
    assert adamw.centre(256) == 2 * adamw.centre(64)
    heavy = {momentum: Variant("momentum", momentum).centre(64) for momentum in (0.0, 0.9)}
    assert heavy[0.0] == pytest.approx(10 * heavy[0.9])


def test_evaluations_grow_by_the_ratio_and_end_at_the_horizon():
    config = Config()
    for size in config.batch_sizes:
        steps = np.array(config.evaluated_steps(size))
        assert (steps[0], steps[-1]) == (1, 250 + 30_000 // size)
        assert np.all(np.diff(steps) >= 1)
        assert np.all(np.diff(steps) <= np.maximum(1, 0.15 * steps[:-1] + 0.5))
        assert 40 <= len(config.probed_steps(size)) <= 64
