"""Fitted laws against the laws that made the data, and against SciPy's minimiser of the same squares."""

import math

import numpy as np
import pytest
from scipy import optimize

from geometry import HYPERBOLA, INVERSE, INVERSE_ROOT, BatchLaw, fit_law

FORMS = (INVERSE_ROOT, INVERSE, HYPERBOLA)
BATCH_SIZES = 2 ** np.arange(3, 11)
LAWS = {form: BatchLaw(form, 50.0, 60.0) for form in FORMS}
of_each_form = pytest.mark.parametrize("form", FORMS, ids=repr)


def noisy_steps(form, rows, horizon, seed=1):
    noise = np.random.default_rng(seed).normal(size=(rows, len(BATCH_SIZES)))
    steps = LAWS[form].steps(BATCH_SIZES) * np.exp(0.2 * noise)
    return np.where(steps <= horizon, steps, math.inf)


def numpy_relative_steps(form, ratio):
    if form is HYPERBOLA:
        return 1 + 1 / ratio
    fraction = {INVERSE_ROOT: np.sqrt(ratio), INVERSE: ratio}[form]
    return np.where(ratio > 1, fraction / np.where(ratio > 1, fraction - 1, 1), np.inf)


@of_each_form
def test_a_law_is_recovered_from_its_own_steps(form):
    law = LAWS[form]
    fit = fit_law(form, BATCH_SIZES, law.steps(BATCH_SIZES), 1e9)
    np.testing.assert_allclose(fit.law.min_steps, 50, rtol=1e-7)
    np.testing.assert_allclose(fit.law.scale, 60, rtol=1e-7)
    np.testing.assert_allclose(fit.critical_batch, law.critical_batch, rtol=1e-7)
    assert fit.residual < 1e-7
    assert fit.determined


@of_each_form
def test_no_other_law_has_smaller_squares(form):
    horizon, steps = 450.0, noisy_steps(form, 6, 450.0)
    fits = fit_law(form, BATCH_SIZES, steps, horizon)
    assert np.isinf(steps).any()

    def squares(constants, row):
        with np.errstate(over="ignore"):
            ratio = BATCH_SIZES / np.exp(constants[1])
            predicted = constants[0] + np.log(numpy_relative_steps(form, ratio))
        reached = np.isfinite(row)
        if np.isinf(predicted[reached]).any():
            return 1e6
        missed = np.maximum(np.log(horizon) - predicted[~reached], 0)
        return np.sum((np.log(row[reached]) - predicted[reached]) ** 2) + np.sum(missed**2)

    for place, row in enumerate(steps):
        tight = {"xatol": 1e-9, "fatol": 1e-14, "maxiter": 2_000}
        starts = [(np.log(50), np.log(scale)) for scale in (3.0, 30.0, 60.0, 100.0)]
        found = min(
            (optimize.minimize(squares, s, (row,), "Nelder-Mead", options=tight) for s in starts),
            key=lambda result: result.fun,
        )
        ours = np.log([fits.law.min_steps[place], fits.law.scale[place]])
        np.testing.assert_allclose(squares(ours, row), found.fun, rtol=1e-7)
        np.testing.assert_allclose(ours, found.x, atol=1e-5)
        residual = math.sqrt(found.fun / np.isfinite(row).sum())
        np.testing.assert_allclose(fits.residual[place], residual, rtol=1e-6)


def test_an_unreached_target_counts_only_where_the_law_would_have_reached_it():
    steps = LAWS[HYPERBOLA].steps(BATCH_SIZES)
    steps[0] = math.inf  # the law takes 425
    agreeing = fit_law(HYPERBOLA, BATCH_SIZES, steps, 400.0)
    np.testing.assert_allclose(agreeing.law.scale, 60, rtol=1e-7)
    opposed = fit_law(HYPERBOLA, BATCH_SIZES, steps, 500.0)
    assert 425 < opposed.law.steps(8) < 500
    assert opposed.residual > 0.01


@of_each_form
def test_rows_are_fitted_as_they_are_alone(form):
    steps, horizons = noisy_steps(form, 6, 300.0).reshape(2, 3, -1), np.linspace(300, 310, len(BATCH_SIZES))
    joint = fit_law(form, BATCH_SIZES, steps, horizons)
    single = [fit_law(form, BATCH_SIZES, row, horizons) for row in steps.reshape(6, -1)]
    assert joint.critical_batch.shape == (2, 3)
    np.testing.assert_allclose(joint.critical_batch.ravel(), [fit.critical_batch for fit in single])
    np.testing.assert_allclose(joint.law.min_steps.ravel(), [fit.law.min_steps for fit in single])


@of_each_form
def test_points_of_many_replicates_are_fitted_as_their_geometric_means(form):
    steps = noisy_steps(form, 3, math.inf)
    pooled = fit_law(form, np.tile(BATCH_SIZES, 3), steps.ravel(), 1e9)
    mean = fit_law(form, BATCH_SIZES, np.exp(np.log(steps).mean(axis=0)), 1e9)
    np.testing.assert_allclose(pooled.law.scale, mean.law.scale, rtol=1e-6)
    np.testing.assert_allclose(pooled.law.min_steps, mean.law.min_steps, rtol=1e-6)


@of_each_form
def test_units_do_not_matter(form):
    steps = noisy_steps(form, 1, 300.0)[0]
    fit, other = fit_law(form, BATCH_SIZES, steps, 300.0), fit_law(form, 7 * BATCH_SIZES, 0.1 * steps, 30.0)
    np.testing.assert_allclose(other.law.scale, 7 * fit.law.scale, rtol=1e-6)
    np.testing.assert_allclose(other.law.min_steps, 0.1 * fit.law.min_steps, rtol=1e-6)
    np.testing.assert_allclose(other.residual, fit.residual, rtol=1e-9)


def test_steps_that_fall_as_one_over_the_batch_size_bound_it_from_below_alone():
    fit = fit_law(HYPERBOLA, BATCH_SIZES, 1e4 / BATCH_SIZES, 1e9)
    assert fit.critical_batch == math.inf
    assert not fit.determined
    np.testing.assert_allclose(fit.law.steps(BATCH_SIZES), 1e4 / BATCH_SIZES, rtol=1e-3)


@of_each_form
def test_steps_that_do_not_fall_leave_a_critical_batch_of_zero(form):
    fit = fit_law(form, BATCH_SIZES, 100.0 * np.linspace(1, 1.1, len(BATCH_SIZES)), 1e9)
    assert fit.critical_batch == 0
    assert not fit.determined
    np.testing.assert_allclose(fit.law.steps(BATCH_SIZES), 105, rtol=0.06)


@of_each_form
def test_fewer_than_two_batch_sizes_that_reach_determine_nothing(form):
    unreached = np.full((2, len(BATCH_SIZES)), math.inf)
    unreached[1, -1] = 80.0
    fits = fit_law(form, BATCH_SIZES, unreached, 100.0)
    for values in (fits.law.min_steps, fits.law.scale, fits.critical_batch, fits.residual):
        np.testing.assert_array_equal(values, [math.nan, math.nan])
    assert not fits.determined.any()


def test_the_form_that_made_the_steps_leaves_the_smallest_residual():
    for made in FORMS:
        steps = np.where(LAWS[made].steps(BATCH_SIZES) <= 1e4, LAWS[made].steps(BATCH_SIZES), math.inf)
        residuals = {form: fit_law(form, BATCH_SIZES, steps, 1e4).residual for form in FORMS}
        assert min(residuals, key=residuals.get) is made
        assert sorted(residuals.values())[1] > 0.01


def test_what_cannot_be_fitted_is_named():
    with pytest.raises(ValueError, match=r"steps must be positive, got 0\.0"):
        fit_law(HYPERBOLA, np.array([1, 2]), np.array([3.0, 0.0]), 10)
    with pytest.raises(ValueError, match="steps must be positive, got nan"):
        fit_law(HYPERBOLA, np.array([1, 2]), np.array([3.0, math.nan]), 10)
