"""What the model of curves must not depend on: units, the order of runs, what seeds are called, the sign."""

import functools

import numpy as np
import pytest

from schedules.search.curve_model import CurveModel
from schedules.search.curve_runs import segment_means

pytestmark = pytest.mark.usefixtures("one_thread")
COUNT = 15
RNG = np.random.default_rng(0)
CURVES, QUERIES = (np.exp(RNG.normal(-2, 0.7, (count, 20))) for count in (COUNT, 7))
SEEDS = [number // 5 for number in range(COUNT)]
LEVELS = np.log(CURVES[:, :10].mean(axis=1) / 0.2) ** 2 + RNG.normal(0, 0.1, COUNT)
SCORES = {"relative": 0.1 * np.exp(LEVELS), "absolute": LEVELS - np.median(LEVELS)}
ROUND_OFF = {"rtol": 1e-4, "atol": 1e-4}  # the optimiser of the parameters stops elsewhere by about this


def predicted(curves, scores, seeds, queries=QUERIES, **options):
    return np.array(CurveModel.fit(curves, scores, seeds, **options).predict(queries))


@functools.cache
def reference(scale):
    return predicted(CURVES, SCORES[scale], SEEDS)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("scale", SCORES)
def test_another_unit_of_learning_rates_changes_nothing(scale, factor):
    scaled = predicted(factor * CURVES, SCORES[scale], SEEDS, factor * QUERIES)
    np.testing.assert_allclose(scaled, reference(scale), **ROUND_OFF)


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_a_factor_of_positive_scores_is_a_term_of_their_levels(factor):
    mean, sd = predicted(CURVES, factor * SCORES["relative"], SEEDS)
    np.testing.assert_allclose(mean, reference("relative")[0] + np.log(factor), **ROUND_OFF)
    np.testing.assert_allclose(sd, reference("relative")[1], **ROUND_OFF)


@pytest.mark.parametrize(("factor", "term"), [(1e-3, 0.0), (1e3, 0.0), (1.0, -20.0)])
def test_the_unit_and_the_zero_of_other_scores_are_those_of_their_levels(factor, term):
    mean, sd = predicted(CURVES, factor * SCORES["absolute"] + term, SEEDS)
    np.testing.assert_allclose((mean - term) / factor, reference("absolute")[0], **ROUND_OFF)
    np.testing.assert_allclose(sd / factor, reference("absolute")[1], **ROUND_OFF)


def test_the_unit_of_scores_that_are_mostly_the_same_changes_nothing():
    scores = np.where(np.arange(COUNT) < 10, -1.0, LEVELS)
    (mean, sd), (scaled, wide) = (predicted(CURVES, factor * scores, SEEDS) for factor in (1, 1e3))
    np.testing.assert_allclose(scaled / 1e3, mean, **ROUND_OFF)
    np.testing.assert_allclose(wide / 1e3, sd, **ROUND_OFF)


@pytest.mark.parametrize("scale", SCORES)
def test_the_order_of_runs_changes_nothing(scale):
    order = np.random.default_rng(1).permutation(COUNT)
    seeds = [SEEDS[place] for place in order]
    shuffled = predicted(CURVES[order], SCORES[scale][order], seeds)
    np.testing.assert_allclose(shuffled, reference(scale), **ROUND_OFF)


@pytest.mark.parametrize("names", ["zab", [("screen", 2), ("screen", 10), ("check", 2)], [1, "1", None]])
def test_a_seeds_name_changes_nothing(names):
    seeds = [names[seed] for seed in SEEDS]
    np.testing.assert_array_equal(predicted(CURVES, SCORES["relative"], seeds), reference("relative"))


def test_to_maximise_the_inverse_or_the_negative_is_to_minimise():
    for scale, opposite in (("relative", 1 / SCORES["relative"]), ("absolute", -SCORES["absolute"])):
        mean, sd = predicted(CURVES, opposite, SEEDS, maximize=True)
        np.testing.assert_allclose(mean, -reference(scale)[0], **ROUND_OFF)
        np.testing.assert_allclose(sd, reference(scale)[1], **ROUND_OFF)


def test_the_sensitivity_has_the_sign_of_what_is_maximised():
    (slopes, sd), (opposite, same) = (
        CurveModel.fit(CURVES, sign * SCORES["absolute"], SEEDS, maximize=sign < 0).sensitivity(QUERIES[0])
        for sign in (1, -1)
    )
    np.testing.assert_allclose(opposite, -slopes, **ROUND_OFF)
    np.testing.assert_allclose(same, sd, **ROUND_OFF)


@pytest.mark.parametrize("num_steps", [10, 20, 1000])
def test_segments_are_tenths_of_the_steps(num_steps):
    curves = np.random.default_rng(2).random((3, num_steps))
    tenths = curves.reshape(3, 10, -1).mean(axis=2)
    np.testing.assert_allclose(segment_means(curves), tenths, rtol=1e-12)


@pytest.mark.parametrize("num_steps", [1, 7, 13, 101])
def test_segments_are_integrals_of_the_curve_as_a_step_function(num_steps):
    curves = np.random.default_rng(3).random((3, num_steps))
    # the steps and the segments have whole numbers of parts of a fine grid that both divide
    fine = np.repeat(curves, 10, axis=1).reshape(3, 10, num_steps)
    np.testing.assert_allclose(segment_means(curves), fine.mean(axis=2), rtol=1e-12)
