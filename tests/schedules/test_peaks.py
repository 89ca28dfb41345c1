"""Every family's continuous curve lies in [0, 1] and peaks at exactly 1, over its whole domain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedules import FAMILIES
from schedules.family import OPTIONS

EPS = float(np.finfo(np.float32).eps)
GRID = np.linspace(0, 1, 513, dtype=np.float32)
NEARBY = np.arange(-8, 9, dtype=np.float64) * EPS / 2  # knots nearer than eps are moved apart, by eps each
CASES = (
    [(name, {}) for name in FAMILIES]
    + [("constant", {"warmup_form": form}) for form in OPTIONS["warmup_form"][1:]]
    + [("wsd", {"decay_form": form}) for form in OPTIONS["decay_form"][1:]]
    + [("cosine", {"floor": 0.3})]
)


def peak_location(params):
    """Where the specification puts the peak."""
    for name in ("warmup", "x0", "x_peak"):
        if name in params:
            return params[name]
    return np.argmax([params[f"level_{k}"] for k in range(8)]) / 7


def around(location):
    return np.clip(np.float64(location) + NEARBY, 0, 1).astype(np.float32)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_curve_lies_in_the_unit_interval_and_peaks_at_1(name, options, anywhere, curve, family_of):
    family = family_of(name, options)

    @settings(max_examples=40)
    @given(params=anywhere(family))
    def holds(params):
        values = curve(family, np.concatenate([GRID, around(peak_location(params))]), params)
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
        # less the roundings of a sum of at most ten increments below 1
        assert values.max() >= 1 - 16 * EPS

    holds()


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_peak_is_where_the_specification_puts_it(name, options, draw, curve, family_of):
    family = family_of(name, options)
    for seed in range(10):
        params = draw(name, seed)
        peak = curve(family, np.full(1, peak_location(params)), params)
        np.testing.assert_allclose(peak, 1, rtol=0, atol=2e-6)


@settings(max_examples=100)
@given(offsets=st.tuples(*[st.integers(1, 6)] * 2), dx2=st.sampled_from([1e-30, 1e-7, 0.25, 0.5]))
def test_smooth_nonmonotonic_peaks_within_the_horizon_beside_its_end(curve, offsets, dx2):
    dx1, x_peak = (1 - offset * 2**-24 for offset in offsets)
    params = {"y_start": 0.0, "y_end": 0.0, "x_peak": x_peak, "y1": 0.2, "dx1": dx1, "y2": 0.3, "dx2": dx2}
    values = curve(FAMILIES["smooth_nonmonotonic"], around(1.0), params)
    assert values.max() >= 1 - 16 * EPS


def test_free_with_all_levels_zero_is_constant():
    levels = {f"level_{k}": 0.0 for k in range(8)}
    assert (np.asarray(FAMILIES["free"].multipliers(levels, 16)) == 1).all()
