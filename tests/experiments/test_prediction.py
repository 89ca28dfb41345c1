"""What is said of schedules that were never run, against runs of them and Gaussian-process regression."""

import functools

import jax
import numpy as np
import pytest
from scipy.stats import norm

from experiments.shape_search.calibration import LeftOut, beside_measured, claims, predicted
from experiments.shape_search.candidates import expected, near_best
from experiments.shape_search.prediction import DRAWS, curve_of, next_batch, predictions
from schedules import FAMILIES, CurveModel, Interval
from schedules.search import Candidate, Estimate, Raced, SearchSpace, Standing, Trial, Winner
from tests.schedules.dense_process import Truth, heights_of, posterior, segment_logarithms, values_of

RATES = Interval(0.01, 1.0, log=True)
SPACES = {name: SearchSpace(FAMILIES[name], RATES) for name in ("linear", "cosine_floor", "constant")}
STEPS = 20
ORDINARY, RUN_OFTEN = 60, 50


def score(curve, number, luck=0.1):
    """Lowest at a mean of 0.1; by its number a run has its luck, which counts as the model has it."""
    value = values_of(np.log(curve.mean() / 0.1) ** 2) + luck * np.random.default_rng(number).normal()
    return float(0.1 * np.exp(heights_of(value)))


@functools.cache
def searched(first=0):
    """Draws of the families with a run each, one of them with many more, all with seeds of their own,
    which are numbered from `first`."""
    per_family = ORDINARY // len(SPACES)
    candidates = []
    for number, space in enumerate(SPACES.values()):
        points = np.random.default_rng(number).random((per_family, space.dimensions), np.float32)
        candidates += space.candidates(points, 0)
    repeated = min(candidates, key=lambda candidate: abs(np.log(curve_of(candidate, STEPS).mean() / 0.2)))
    trials = [Trial("screen", candidate, STEPS, seed) for seed, candidate in enumerate(candidates)]
    trials += [Trial("often", repeated, STEPS, seed) for seed in range(RUN_OFTEN)]
    scores = {trial: score(trial.learning_rates, number) for number, trial in enumerate(trials, first)}
    curves = np.stack([trial.learning_rates for trial in trials])
    seeds = [f"{trial.stage} {trial.replicate}" for trial in trials]
    return repeated, scores, CurveModel.fit(curves, np.array(list(scores.values())), seeds)


def dense(curves, reference):
    """Mean and covariance of the values of curves and a reference, and the level of the lowest score."""
    _, scores, model = searched()
    runs = np.stack([trial.learning_rates for trial in scores]).astype(float)
    unit_rate, levels = np.median(runs.max(axis=1)), np.log(list(scores.values()))
    places, queries = (segment_logarithms(x, unit_rate) for x in (runs, np.concatenate([curves, reference])))
    values = values_of(levels - levels.min())
    seeds = range(len(values))
    return *posterior(places, values, seeds, queries, Truth(*model.parameters)), levels.min()


def told(curves, reference, confidence=0.95):
    return predictions(searched()[2], curves, reference, confidence, jax.random.key(0))


def test_a_curve_that_ran_often_is_predicted_near_the_median_of_its_runs():
    repeated, scores, _ = searched()
    own = np.array([value for trial, value in scores.items() if trial.stage == "often"])
    curve = curve_of(repeated, STEPS)[None]
    (prediction,) = told(curve, curve[0])
    error = np.sqrt(np.pi / 2) * np.std(np.log(own)) / np.sqrt(RUN_OFTEN)  # of the log median
    assert abs(np.log(prediction.typical.value / np.median(own))) < 3 * error
    assert np.log(prediction.typical.high / prediction.typical.low) < 8 * error
    assert prediction.run.value == prediction.typical.value
    assert np.quantile(own, 0.9) < prediction.run.high < 1.5 * own.max()


def test_a_curve_stands_to_itself_as_it_is():
    curve = curve_of(searched()[0], STEPS)
    (prediction,) = told(curve[None], curve)
    assert abs(prediction.change.value) < 1e-3
    assert max(map(abs, prediction.change)) < 0.01


def test_intervals_hold_the_runs_of_a_curve():
    shares = []
    for first in range(0, 6_000, 1_000):
        repeated, scores, model = searched(first)
        own = np.array([value for trial, value in scores.items() if trial.stage == "often"])
        curve = curve_of(repeated, STEPS)
        (prediction,) = predictions(model, curve[None], curve, 0.95, jax.random.key(0))
        shares.append(np.mean((prediction.run.low <= own) & (own <= prediction.run.high)))
    assert np.mean(shares) >= 0.912  # 95 % less three standard errors of 300 runs


def test_the_change_and_its_sign_are_those_of_the_joint_posterior():
    levels = np.linspace(0.02, 0.6, 7)
    curves = levels[:, None] * np.linspace(1.5, 0.5, STEPS)
    reference = np.full((1, STEPS), 0.12)
    mean, covariance, lowest = dense(curves, reference)
    shift, cross = mean[:-1] - mean[-1], covariance[:-1, -1]
    sd = np.sqrt(np.diag(covariance)[:-1] + covariance[-1, -1] - 2 * cross)
    expected_lower = norm.cdf(-shift / sd)
    error = np.sqrt(np.maximum(expected_lower * (1 - expected_lower), 1e-3) / DRAWS)
    found = told(curves, reference[0])
    assert np.abs(([p.lower for p in found] - expected_lower) / error).max() < 4.5
    draws = np.random.default_rng(1).multivariate_normal(mean, covariance, 100_000)
    ratios = np.exp(heights_of(draws[:, :-1]) - heights_of(draws[:, -1:])) - 1
    quantiles = np.quantile(ratios, [0.5, 0.025, 0.975], axis=0).T
    widths = (quantiles[:, 2] - quantiles[:, 1])[:, None]
    assert np.abs(([p.change for p in found] - quantiles) / widths).max() < 0.03
    assert [p.typical.value for p in found] == pytest.approx(np.exp(lowest + heights_of(mean[:-1])), rel=1e-5)


def test_a_lower_confidence_has_narrower_intervals():
    curve, reference = np.full((1, STEPS), 0.3), np.full(STEPS, 0.1)
    (wide,), (narrow,) = told(curve, reference), told(curve, reference, 0.5)
    for first, second in zip(wide[:3], narrow[:3], strict=True):
        assert first.low < second.low < second.value < second.high < first.high


@pytest.mark.parametrize("rate", [0.0, 1e-12, 1e12])
def test_where_nothing_ran_intervals_are_wide_and_in_order(rate):
    reference = np.full(STEPS, 0.1)
    for prediction in told(np.full((1, STEPS), rate), reference):
        for estimate in prediction[:3]:
            assert estimate.low < estimate.value < estimate.high
        assert prediction.typical.high > 100 * prediction.typical.low


def test_of_the_next_batch_the_first_is_the_best_that_the_model_knows():
    _, scores, model = searched()
    spaces = {**SPACES}
    batch = next_batch(spaces, scores, model, jax.random.key(0))
    assert len(batch) == 8
    assert len({str(proposal) for proposal in batch}) == 8
    assert batch == next_batch(spaces, scores, model, jax.random.key(0))
    curves = []
    for proposal in batch:
        space = spaces[proposal["family"]]
        _, (candidate,) = space.proposed([proposal], 0)
        assert candidate.base_lr in RATES
        curves.append(curve_of(candidate, STEPS))
    levels = model.means(np.stack(curves))
    asked = model.means(np.stack([trial.learning_rates for trial in scores]))
    assert np.argmin(levels) == 0
    assert levels[0] <= asked.min()
    assert abs(np.log(curves[0].mean() / 0.1)) < 0.2  # where scores are the lowest


@functools.cache
def families():
    """The screening runs, without the diverged one, predicted from all other families."""
    _, scores, model = searched()
    screening = {trial: value for trial, value in scores.items() if trial.stage == "screen"}
    screening[list(screening)[5]] = np.inf
    return screening, beside_measured(model, screening, predicted(model, screening))


@pytest.mark.parametrize("name", SPACES)
def test_a_family_left_out_is_predicted_as_by_a_model_without_its_rows(name):
    screening, shown = families()
    _, scores, model = searched()
    kept = [trial for trial in screening if trial.candidate.family.name != name]
    own = [t for t in screening if t.candidate.family.name == name and np.isfinite(screening[t])]
    finite = [value for value in screening.values() if np.isfinite(value)]
    lowest = np.log(list(scores.values())).min()
    # the run that diverged has the worst other score
    values = values_of(np.log([min(screening[trial], max(finite)) for trial in kept]) - lowest)
    unit_rate = np.median([trial.learning_rates.max() for trial in scores])
    places, queries = (
        segment_logarithms(np.stack([t.learning_rates for t in group]).astype(float), unit_rate)
        for group in (kept, own)
    )
    seeds, parameters = [trial.replicate for trial in kept], model.parameters
    mean, covariance = posterior(places, values, seeds, queries, Truth(*parameters))
    sd = np.sqrt(np.diag(covariance) + parameters.seed**2 + parameters.noise**2)
    for found, quantile in zip(shown[name][1:4], (0.025, 0.5, 0.975), strict=True):
        np.testing.assert_allclose(
            found, lowest + heights_of(mean + norm.ppf(quantile) * sd), rtol=2e-5, atol=1e-5
        )
    np.testing.assert_allclose(shown[name].measured, np.log([screening[trial] for trial in own]))
    curves = np.stack([trial.learning_rates for trial in own])
    np.testing.assert_allclose(shown[name].known, model.predict(curves)[0], rtol=1e-5, atol=1e-5)


def test_a_family_of_few_different_curves_is_not_judged():
    _, scores, model = searched()
    linear = [
        trial for trial in scores if trial.candidate.family.name == "linear" and trial.stage == "screen"
    ]
    others = [trial for trial in scores if trial.candidate.family.name == "constant"]
    again = [Trial("screen", linear[0].candidate, STEPS, 100 + seed) for seed in range(9)]
    for count, names in ((7, {"constant"}), (8, {"linear", "constant"})):
        kept = dict.fromkeys([*linear[:count], *again], 0.5) | {trial: scores[trial] for trial in others}
        assert set(predicted(model, kept)) == names
    assert predicted(model, dict.fromkeys(scores, np.inf)) == {}


def test_what_is_said_of_predictions_is_what_their_words_mean():
    levels = np.array([0.0, 1.0, 2.0, 3.0])
    exact = LeftOut(levels, levels - 1, levels + 0.5, levels + 1, levels)
    turned = LeftOut(levels, levels + 1, levels[::-1], levels + 2, levels[[0, 2, 1, 3]])
    assert (exact.correlation, exact.error, exact.covered) == (pytest.approx(1), 0.5, 1.0)
    assert (turned.correlation, turned.covered) == (pytest.approx(-1), 0.0)
    assert turned.known_correlation == pytest.approx(0.8)  # 1 - 6 · 2 / (4 · 15)
    ranks, shares = claims({"a": exact, "b": turned, "c": exact}, 0.95)
    assert (ranks.effect.value, ranks.effect.low, ranks.effect.high) == (pytest.approx(1), *ranks.effect[1:])
    assert (ranks.held, shares.held) == (True, False)
    assert shares.effect.value == pytest.approx(2 / 3)
    assert claims({}, 0.95) == []


def test_a_lucky_run_is_not_near_the_best_by_the_model():
    curves = [
        Candidate(FAMILIES["constant"], n, {"warmup": 0.0}, r)
        for n, r in enumerate(np.geomspace(0.02, 1, 24))
    ]
    scores = {c: 0.1 * np.exp(np.log(c.base_lr / 0.1) ** 2) for c in curves}
    lucky = curves[-4]
    scores[lucky] = 0.09
    raced = [Raced(candidate, (value,)) for candidate, value in scores.items()]
    model = CurveModel.fit(
        np.stack([curve_of(c, STEPS) for c in curves]), np.array(list(scores.values())), range(24)
    )
    best = min(curves, key=lambda c: abs(np.log(c.base_lr / 0.1)))
    standing = Standing("constant", Winner(best, np.ones(3)), Estimate(0.1, 0.095, 0.115), {}, None)
    assert lucky in near_best(raced, standing)
    shown = expected(raced, model, STEPS)
    band = near_best(shown, standing)
    assert lucky not in band
    assert best in band
    medians = [entry.medians[0] for entry in shown]
    np.testing.assert_allclose(
        medians, np.exp(model.predict(np.stack([curve_of(c, STEPS) for c in curves]))[0])
    )
