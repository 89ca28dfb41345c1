"""Every family's continuous curve lies in [0, 1] and peaks at exactly 1, over its whole domain."""

import numpy as np
import pytest

from schedules import FAMILIES
from schedules.family import OPTIONS

EPS = float(np.finfo(np.float32).eps)
GRID = np.linspace(0, 1, 513, dtype=np.float32)
NEARBY = np.arange(-8, 9, dtype=np.float64) * EPS / 2  # knots nearer than eps are moved apart, by eps each
LEVELS = {"y_start": 0.0, "y_end": 0.0, "y1": 0.2, "y2": 0.3}  # of smooth_nonmonotonic
CASES = (
    [(name, {}) for name in FAMILIES]
    + [("constant", {"warmup_form": form}) for form in OPTIONS["warmup_form"][1:]]
    + [("wsd", {"decay_form": form}) for form in OPTIONS["decay_form"][1:]]
    + [("cosine", {"floor": 0.3})]
)


def peaks(params):
    """Where the specification puts them."""
    for name in ("warmup", "x0", "x_peak"):
        if name in params:
            return np.float64(params[name])
    return np.argmax([params[f"level_{k}"] for k in range(8)], axis=0) / 7


def around(locations):
    return np.clip(locations[:, None] + NEARBY, 0, 1).astype(np.float32)


def reached(params):
    """Where the fall begins at v = 1: XLA takes (1 - w) / (1 - w) as (1 - w)·(1 / (1 - w)), which may round
    to less; of thousands of an exponent that is a part of the fall."""
    width = np.float32(1) - np.minimum(params.get("warmup", np.zeros(1, np.float32)), np.float32(1 - EPS))
    return width * (1 / width) == 1


def unrisen(params):
    """The same without a warm-up."""
    return params | {name: np.zeros_like(values) for name, values in params.items() if name == "warmup"}


def assert_each(holds, params):
    """Tells what the first of the shapes is for which it does not hold."""
    for number in np.flatnonzero(~holds)[:1]:
        pytest.fail(str({name: values[number] for name, values in params.items()}))


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_curve_lies_in_the_unit_interval_and_peaks_at_1(name, options, anywhere, curves, family_of):
    family = family_of(name, options)
    params = anywhere(family)
    places = around(peaks(params))
    values = curves(family, np.concatenate([np.tile(GRID, (len(places), 1)), places], axis=1), params)
    highest = values.max(axis=1)
    assert_each(np.isfinite(values).all(axis=1), params)
    assert_each(values.min(axis=1) >= 0, params)
    assert_each(highest <= 1, params)
    begun = curves(family, np.full((len(places), 1), EPS), unrisen(params))[:, 0]  # where v = 1 - eps
    # less the roundings of a sum of at most ten increments below 1
    assert_each(highest >= np.where(reached(params), 1, begun) - 16 * EPS, params)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_the_peak_is_where_the_specification_puts_it(name, options, draw, curves, family_of):
    drawn = [draw(name, seed) for seed in range(10)]
    params = {p: np.array([shape[p] for shape in drawn]) for p in drawn[0]}
    peak = curves(family_of(name, options), peaks(params)[:, None], params)
    np.testing.assert_allclose(peak, 1, rtol=0, atol=2e-6)


def test_smooth_nonmonotonic_peaks_within_the_horizon_beside_its_end(curves):
    places = 1 - np.arange(1, 7) * 2**-24
    dx1, x_peak, dx2 = (part.ravel() for part in np.meshgrid(places, places, [1e-30, 1e-7, 0.25, 0.5]))
    levels = {name: np.full(len(dx1), level) for name, level in LEVELS.items()}
    values = curves(
        FAMILIES["smooth_nonmonotonic"],
        around(np.ones(len(dx1))),
        levels | {"dx1": dx1, "x_peak": x_peak, "dx2": dx2},
    )
    assert (values.max(axis=1) >= 1 - 16 * EPS).all()


def test_free_with_all_levels_zero_is_constant():
    levels = {f"level_{k}": 0.0 for k in range(8)}
    assert (np.asarray(FAMILIES["free"].multipliers(levels, 16)) == 1).all()
