"""The study of Muon's ingredients: spectra, problems and predictors against NumPy, a run, and the claims."""

import functools
import zlib
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

import geometry
from experiments.ingredients.claims import claims
from experiments.ingredients.config import PRESETS, Config
from experiments.ingredients.gains import correlated
from experiments.ingredients.predictors import CURVATURE, NUCLEAR, PREDICTORS, RATIO, SHARE, STABLE
from experiments.ingredients.problems import EXAMPLES, INPUTS, OUTPUTS, Text, matrix_regression
from experiments.ingredients.runs import Results
from experiments.ingredients.spectra import RandomFactor, RandomSpectrum, SignFactor, SpectralPower
from experiments.ingredients.variants import FORMS, VARIANTS, optimizer
from schedules import FAMILIES
from workloads import epoch_indices

CONDITION, RANK, BATCH, STEPS, BATCHES = 100.0, 32, 16, 16, 2  # of the last setting of the small form
FACTORS = [SpectralPower(1.0), SpectralPower(-1.0), RandomSpectrum(), RandomFactor(), SignFactor()]

pytestmark = pytest.mark.xdist_group("ingredients")


def named(key, *names):
    for name in names:
        key = jax.random.fold_in(key, name if isinstance(name, int) else zlib.crc32(name.encode()))
    return key


@pytest.fixture(scope="module")
def matrices():
    """Two of 6 × 4: one of full rank, one of rank 2."""
    random = np.random.default_rng(0)
    full, tall, wide = (random.normal(size=shape) for shape in ((6, 4), (6, 2), (2, 4)))
    return jnp.asarray(np.stack([full, tall @ wide]), jnp.float32)


@functools.cache
def regression(condition, rank):
    return jax.jit(lambda key: matrix_regression(key, condition, rank).data)


def by_svd(x, power):
    """U Σ^p Vᵀ over the singular values that are not zero, with a norm of √rank."""
    u, s, vt = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    rank = np.sum(s > 1e-5 * s[0])
    changed = s[:rank] ** power
    return np.sqrt(rank) / np.linalg.norm(changed) * (u[:, :rank] * changed) @ vt[:rank]


@pytest.mark.parametrize("power", [-1.0, 0.0, 0.5, 1.0])
def test_a_power_of_the_spectrum_is_that_of_numpys_svd(matrices, power):
    expected = [by_svd(x, power) for x in matrices]
    found = jax.jit(SpectralPower(power).factor)(matrices)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if power == 0:
        polar = jax.jit(geometry.polar, static_argnums=1)(matrices, "svd")
        np.testing.assert_allclose(found, polar, atol=1e-5)


@pytest.mark.parametrize("method", FACTORS, ids=lambda method: type(method).__name__)
def test_all_that_stands_in_the_polar_factors_place_has_its_norm_and_descends(matrices, method):
    factor = jax.jit(method.factor)
    found = np.asarray(factor(matrices)[0], np.float64)
    assert np.linalg.norm(found) == pytest.approx(2, rel=5e-3)  # √4
    assert np.sum(found * matrices[0]) > 0
    zeros = jnp.asarray(np.zeros_like(matrices))
    np.testing.assert_array_equal(factor(zeros), zeros)


def test_a_random_spectrum_keeps_the_singular_vectors_and_draws_afresh(matrices):
    u, _, vt = np.linalg.svd(matrices[0], full_matrices=False)
    factor = jax.jit(RandomSpectrum().factor)
    scaled = [jnp.asarray(scale * np.asarray(matrices)) for scale in (1, 1, 2)]
    draws = [u.T @ np.asarray(factor(x)[0]) @ vt.T for x in scaled]
    for draw in draws:
        np.testing.assert_allclose(draw, np.diag(np.diag(draw)), atol=1e-5)
        assert np.all(np.diag(draw) >= 0)
    np.testing.assert_array_equal(draws[0], draws[1])
    assert np.all(np.abs(np.diag(draws[0] - draws[2])) > 1e-3)


def test_a_random_factor_is_orthogonal_and_a_sign_a_sign(matrices):
    factors = np.asarray(jax.jit(RandomFactor().factor)(matrices))
    np.testing.assert_allclose(np.linalg.svd(factors, compute_uv=False), np.ones((2, 4)), atol=5e-3)
    signs = jax.jit(SignFactor().factor)(matrices)
    np.testing.assert_allclose(signs, np.sign(matrices) / np.sqrt(6), rtol=1e-6)


def first_steps(gradients, variants):
    """By variant, the first update at a learning rate of 1, by one program for each form."""

    def update(form, numbers):
        tx = optimizer(form, numbers, optax.constant_schedule(1.0))
        return tx.update(gradients, tx.init(gradients), gradients)[0]

    step = jax.jit(update, static_argnums=0)
    return {variant: step(VARIANTS[variant].form, VARIANTS[variant].numbers) for variant in variants}


def test_every_variant_changes_its_ingredient_alone():
    random = np.random.default_rng(0)
    g, of_head = random.normal(size=(6, 4)), random.normal(size=(4, 3))
    gradients = {"hidden": jnp.float32(g), "head": {"kernel": jnp.float32(of_head)}}
    rms, polar = 0.2 * np.sqrt(6), by_svd(g, 0)
    expected = {
        "muon": rms * polar,
        "exact": rms * polar,
        "root_spectrum": rms * by_svd(g, 0.5),
        "momentum_itself": rms * by_svd(g, 1),
        "inverted_spectrum": rms * by_svd(g, -1),
        "sign": 0.2 * np.sign(g),
        "steps_8": rms * polar,
        "no_momentum": rms * polar,
        "no_nesterov": rms * polar,
        "no_scale": polar,
        "width_scale": polar,
        "fan_ratio_scale": np.sqrt(4 / 6) * polar,
        "all_matrices": rms * polar,
        "adamw": np.sign(g),  # Adam's first step
    }
    updates = first_steps(gradients, [*expected, "steps_1", "steps_2", "steps_3"])
    for variant, direction in expected.items():
        error = np.linalg.norm(updates[variant]["hidden"] + direction) / np.linalg.norm(direction)
        assert error < 0.1, variant
        head = 0.4 * by_svd(of_head, 0) if variant == "all_matrices" else np.sign(of_head)
        np.testing.assert_allclose(updates[variant]["head"]["kernel"], -head, atol=0.05, err_msg=variant)
    counts = (1, 2, 3, 8)
    polars = jax.jit(lambda x: [geometry.polar(x, geometry.PolarExpress(steps)) for steps in counts])
    for steps, iterated in zip(counts, polars(gradients["hidden"]), strict=True):
        np.testing.assert_allclose(updates[f"steps_{steps}"]["hidden"], -rms * iterated, rtol=1e-4, atol=1e-5)
    assert {variant.form for variant in VARIANTS.values()} == {*FORMS, "adamw"}


def test_a_regression_has_the_spectrum_and_the_rank_that_it_is_asked_for():
    key = jax.random.key(3)
    plain, outputs = map(np.float64, regression(1.0, 5)(key))
    bent, _ = map(np.float64, regression(400.0, 5)(key))
    ratio = np.linalg.lstsq(plain, bent, rcond=None)[0]  # Q Λ^½ Qᵀ, for the same draws
    expected = np.geomspace(1, 400**-0.5, INPUTS)
    np.testing.assert_allclose(np.linalg.svd(ratio, compute_uv=False), expected, rtol=1e-3)
    target = np.linalg.lstsq(plain, outputs, rcond=None)[0]
    assert target.shape == (INPUTS, OUTPUTS)
    assert np.linalg.matrix_rank(target, tol=1e-3) == 5
    assert np.sum(target**2) == pytest.approx(OUTPUTS, rel=0.3)
    assert np.var(plain) == pytest.approx(1, rel=0.05)


def confirmed(journal_rows, finished_studies, variant):
    """The second confirming run of a variant in the last setting, with the data and batches it drew."""
    rows = journal_rows(finished_studies("ingredients").folder)
    group = f"regression κ={CONDITION:g}, rank {RANK}: {variant}"
    (row,) = (row for i, row in rows.items() if (i[0], i[1], i[-1]) == ("confirm", group, 1))
    key = named(jax.random.key(0), "confirm", 1)
    x, y = map(np.float64, regression(CONDITION, RANK)(named(key, "data")))
    batches = jax.jit(lambda key: epoch_indices(jax.random.split(key, 5)[1], EXAMPLES, BATCH, STEPS))
    return row, x, y, np.asarray(batches(named(key, "run")))


def test_a_run_is_a_plain_loop_of_adam_in_numpy(finished_studies, journal_rows):
    row, x, y, batches = confirmed(journal_rows, finished_studies, "adamw")
    rates = row["base_lr"] * np.asarray(FAMILIES["linear"].multipliers({"warmup": 0.1}, STEPS), np.float64)
    weights = first = second = np.zeros((INPUTS, OUTPUTS))
    for step, (rows, rate) in enumerate(zip(batches, rates, strict=True), 1):
        gradient = x[rows].T @ (x[rows] @ weights - y[rows]) / BATCH
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        weights = weights - rate * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    assert row["score"] == pytest.approx(np.sum((x @ weights - y) ** 2) / EXAMPLES / 2, rel=1e-3)


def test_predictors_are_numpys_with_the_curvature_of_a_quadratic_in_closed_form(
    finished_studies, journal_rows
):
    row, x, y, batches = confirmed(journal_rows, finished_studies, "muon")
    inputs = x[batches[:BATCHES].ravel()]
    gradient = -inputs.T @ y[batches[:BATCHES].ravel()] / len(inputs)  # at W = 0
    values, activations = (np.linalg.svd(a, compute_uv=False) for a in (gradient, inputs))
    nuclear = np.log(np.sum(values) ** 2 / np.sum(values**2))
    stable = np.log(np.sum(activations**2) / activations[0] ** 2)

    def log_gain(direction):
        return np.log(np.sum(direction * gradient) ** 2 / (np.sum((inputs @ direction) ** 2) / len(inputs)))

    expected = {
        NUCLEAR: nuclear,
        SHARE: nuclear - np.log(OUTPUTS),
        STABLE: stable,
        RATIO: nuclear - stable,
        CURVATURE: log_gain(by_svd(gradient, 0)) - log_gain(np.sign(gradient)),
    }
    assert {*expected} == {*PREDICTORS}
    for name, value in expected.items():
        assert row["metrics"][name] == pytest.approx(value, abs=5e-3), name


def test_correlations_are_scipys_of_the_medians_and_sure_where_the_order_is():
    random = np.random.default_rng(0)
    muon = np.exp(random.normal(0, 0.01, (12, 9)))
    adamw = muon * np.exp(np.arange(12.0))[:, None]
    others = random.normal(size=(12, 9))
    found = correlated({"same": np.log(adamw), "against": -adamw, "other": others}, adamw, muon, 0.95)
    assert found.estimate("same") == (1, pytest.approx(1), pytest.approx(1))
    assert found.estimate("against").high == pytest.approx(-1)
    expected = stats.spearmanr(np.median(others, axis=1), np.arange(12)).statistic
    other = found.estimate("other")
    assert other.value == pytest.approx(expected)
    assert other.low < expected - 0.3 < expected + 0.3 < other.high


def test_settings_and_variants_are_tuned_once_each():
    config = Config(variants=("exact",), hidden=(32,), batch_size=16, depths=(1,), batch_sizes=(16,))
    names = [contestant.name for contestant in config.contestants]
    assert (
        len(names) == len(set(names)) == 3 + 2 * 6 - 2
    )  # the first setting is what variants are compared on
    assert {family: len(problems) for family, problems in config.families.items()} == {
        "all settings": 6,
        "regressions": 4,
    }
    assert config.planned_runs == 13 * (8 * 3 + 24)
    assert len({c.program for c in config.contestants}) == 2 * 2 + 3
    assert len(Config().settings) == 12
    text = PRESETS["transformer"]
    assert text.main_problem == text.settings[-1]
    assert {family: len(problems) for family, problems in text.families.items()} == {
        "all settings": 8,
        "regressions": 4,
        "text": 4,
    }


def test_on_text_a_run_trains_a_transformer_of_the_setting():
    problem = Text(16, 1, 4)
    params = jax.eval_shape(problem.workload({}, problem.data).init, jax.random.key(0))["params"]
    assert params["block_0"]["qkv"]["kernel"].shape == (16, 48)
    assert params["position_embed"].shape == (32, 16)
    assert "block_1" not in params


SPREAD = np.geomspace(1, 1.1, 8)  # of each seed, the same for all


def test_claims_are_judged_from_muon_from_the_exact_factor_by_rank_and_by_sign():
    """The sign is better than Muon's factor, a step as good as the exact one; Muon gains in 8 of 12."""
    config = Config(variants=("exact", "sign", "no_momentum", "steps_1", "steps_3"), confirm_replicates=8)
    medians = {"exact": 1.0, "sign": 0.5, "no_momentum": 2.0, "steps_1": 1.0, "steps_3": 1.5}
    gains = dict(zip(config.settings, np.arange(12) - 3.5, strict=True))
    tuned = {
        c: SimpleNamespace(
            scores=SPREAD
            * (np.exp(gains.get(c.problem, 1.0)) if c.variant == "adamw" else medians.get(c.variant, 1.0))
        )
        for c in config.contestants
    }
    measured = {problem: {RATIO: np.full(8, gain), CURVATURE: np.ones(8)} for problem, gain in gains.items()}
    losses = np.exp([*gains.values()])[:, None] * np.ones(8)
    ranks = correlated(dict.fromkeys(PREDICTORS, losses), losses, np.ones_like(losses), 0.95)
    found = {
        (claim.statement.split(":")[0], claim.subject): (round(claim.effect.value, 6), claim.held)
        for claim in claims(Results(config, tuned, measured, {"all settings": ranks}, {}, None))
    }
    assert found == {
        ("another factor of the same norm costs", "sign"): (-0.5, False),
        ("less momentum costs", "no_momentum"): (1.0, True),
        ("to take no matrix costs", "adamw"): (round(np.e - 1, 6), True),
        ("too few steps cost", "steps_1"): (0.0, False),
        ("few steps suffice", "steps_3"): (0.5, False),
        ("few steps suffice", "muon"): (0.0, True),
        **{
            ("goes with the gain over AdamW", name): (1.0, True)
            for name in (NUCLEAR, SHARE, RATIO, CURVATURE)
        },
        ("goes against the gain over AdamW", STABLE): (1.0, False),
        ("its sign tells whether Muon gains", RATIO): (1.0, True),  # at least .735 of all, where .667 gain
        ("its sign tells whether Muon gains", CURVATURE): (round(8 / 12, 6), False),
    }
