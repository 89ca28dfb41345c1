"""Runs predicted from all other groups, against Gaussian-process regression over those alone."""

import numpy as np
import pytest
from scipy.stats import norm

from schedules.search.curve_fit import Parameters
from schedules.search.curve_model import CurveModel
from schedules.search.curve_runs import Values
from schedules.search.left_out import left_out
from schedules.search.scale import Scale
from tests.schedules.dense_process import Truth, heights_of, posterior, run_covariance, segment_logarithms

pytestmark = pytest.mark.usefixtures("one_thread")
TRUTH = Truth(0.5, 0.2, 0.1, np.linspace(1.0, 3.0, 10))
TAILS = np.array([0.025, 0.5, 0.975])
GROUPS = ["linear"] * 7 + ["wsd"] * 3 + ["free"] * 9 + ["wsd"] * 5  # not in one piece
SEEDS = [number // 6 for number in range(24)]  # shared between groups
UNIT_RATE = 0.25


def model_of(sign=1):
    """With parameters that are known, and values v of scores exp(height of v)."""
    values = Values(Scale.RELATIVE, sign, 0.0, 1.0)
    return CurveModel(UNIT_RATE, values, Parameters(*TRUTH), runs=None, root=None, weights=None)


def landscape(seed):
    """Curves and the values of their runs, drawn from the process itself."""
    generator = np.random.default_rng(seed)
    curves = np.exp(generator.normal(-2, 0.7, (24, 20)))
    covariance = run_covariance(segment_logarithms(curves, UNIT_RATE), SEEDS, TRUTH)
    return curves, np.linalg.cholesky(covariance) @ generator.standard_normal(24)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_group_is_predicted_from_the_runs_of_all_others(sign):
    curves, values = landscape(0)
    levels = left_out(model_of(sign), curves, np.exp(sign * heights_of(values)), SEEDS, GROUPS, TAILS)
    places = segment_logarithms(curves, UNIT_RATE)
    for group in set(GROUPS):
        own = np.array(GROUPS) == group
        told = [seed for seed, is_own in zip(SEEDS, own, strict=True) if not is_own]
        mean, covariance = posterior(places[~own], values[~own], told, places[own], TRUTH)
        sd = np.sqrt(np.diag(covariance) + TRUTH.seed**2 + TRUTH.noise**2)
        expected = sign * heights_of(mean + sign * norm.ppf(TAILS)[:, None] * sd)
        np.testing.assert_allclose(levels[:, own], expected, rtol=1e-6)


def test_nothing_but_the_prior_predicts_the_only_group():
    curves, values = landscape(0)
    levels = left_out(model_of(), curves, np.exp(heights_of(values)), SEEDS, ["all"] * 24, TAILS)
    sd = np.sqrt(1 + TRUTH.amplitude**2 + TRUTH.seed**2 + TRUTH.noise**2)
    np.testing.assert_allclose(
        levels, np.tile(heights_of(norm.ppf(TAILS) * sd), (24, 1)).T, rtol=1e-9, atol=1e-9
    )


def test_intervals_hold_what_the_process_makes_as_often_as_they_say():
    shares = []
    for seed in range(80):
        curves, values = landscape(seed)
        low, _, high = left_out(model_of(), curves, np.exp(heights_of(values)), SEEDS, GROUPS, TAILS)
        shares.append(np.mean((low <= heights_of(values)) & (heights_of(values) <= high)))
    # landscapes are independent, the runs of one are not
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert abs(np.mean(shares) - 0.95) < 3.5 * error
    assert error < 0.0075  # so that 92 % would be seen


def test_a_run_that_diverged_counts_as_the_worst_of_all():
    curves, values = landscape(1)
    scores = np.exp(heights_of(values))
    worst, lost = scores.copy(), scores.copy()
    lost[3], worst[3] = np.inf, np.delete(scores, 3).max()
    expected = left_out(model_of(), curves, worst, SEEDS, GROUPS, TAILS)
    np.testing.assert_array_equal(left_out(model_of(), curves, lost, SEEDS, GROUPS, TAILS), expected)
