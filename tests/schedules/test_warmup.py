"""The warm-up: from 0 at t = 0 to the base learning rate at t = W, with W real-valued."""

import numpy as np
import pytest

from schedules import FAMILIES
from schedules.family import OPTIONS

FORMS = OPTIONS["warmup_form"]
WARMED_UP = [name for name, family in FAMILIES.items() if "warmup" in family.domain]
HALFWAY = {  # closed forms at r = 1/2
    "linear": 0.5,
    "cosine": 0.5,
    "exponential": (1 - np.exp(-2.5)) / (1 - np.exp(-5.0)),
    "polynomial": 0.25,
}


def test_the_four_forms_are_those_of_the_specification():
    assert set(FORMS) == set(HALFWAY)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_passes_halfway_where_its_formula_says(form):
    family = FAMILIES["constant"].with_options(warmup_form=form)
    multipliers = family.multipliers({"warmup": 0.5}, 8)
    np.testing.assert_allclose(multipliers[2], HALFWAY[form], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "form"), [*((n, "linear") for n in WARMED_UP), *(("sqrt", f) for f in FORMS)]
)
def test_the_rate_is_0_at_the_start_and_the_base_rate_at_the_end_of_the_warmup(name, form, draw):
    params = {**draw(name, 0), "warmup": 0.25}
    schedule = FAMILIES[name].with_options(warmup_form=form).schedule(params, 0.3, 8)
    assert float(schedule(0)) == 0
    np.testing.assert_allclose(float(schedule(2)), 0.3, rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_rises_monotonically(form):
    family = FAMILIES["constant"].with_options(warmup_form=form)
    assert (np.diff(family.multipliers({"warmup": 0.75}, 100)[:76]) > 0).all()


def test_sqrt_reaches_its_peak_at_a_one_step_warmup():
    multipliers = FAMILIES["sqrt"].multipliers({"warmup": 0.125, "a": 1.0}, 8)
    u = (np.arange(8) / 8 - 0.125) / 0.875
    expected = np.where(u < 0, 0, np.sqrt(1 - np.maximum(u, 0) ** 2))  # not (W-1)/W of it, which is 0
    np.testing.assert_allclose(multipliers, expected, rtol=0, atol=5e-7)


@pytest.mark.parametrize("name", WARMED_UP)
def test_without_warmup_a_family_starts_at_its_peak(name, draw):
    assert FAMILIES[name].multipliers({**draw(name, 0), "warmup": 0.0}, 128)[0] == 1


def test_the_warmup_is_not_rounded_to_steps():
    # W = 2.5 steps: 0, 0.4, 0.8 on the way up, and the decay starts from t = 2.5
    multipliers = FAMILIES["linear"].multipliers({"warmup": 0.25}, 10)
    expected = [0, 0.4, 0.8] + [1 - (t - 2.5) / 7.5 for t in range(3, 10)]
    np.testing.assert_allclose(multipliers, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("num_steps", [10, 1_000])
def test_the_warmup_is_a_fraction_whatever_the_horizon(num_steps):
    for name in ("linear", "sqrt", "wsd"):
        params = {parameter: interval.high for parameter, interval in FAMILIES[name].space.items()}
        multipliers = FAMILIES[name].multipliers({**params, "warmup": 0.1}, num_steps)
        assert int(np.argmax(multipliers)) == num_steps // 10


@pytest.mark.parametrize("name", ["two_point_linear", "two_point_spline", "two_point_spline_floor"])
def test_two_point_families_warm_up_in_a_straight_line(name, draw):
    params = {**draw(name, 3), "x0": 0.5}
    multipliers = FAMILIES[name].multipliers(params, 16)
    np.testing.assert_allclose(multipliers[:9], np.arange(9) / 8, rtol=0, atol=2e-7)
