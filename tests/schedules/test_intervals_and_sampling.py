"""Intervals' ends, and draws from a search space."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from schedules import FAMILIES, Interval

COUNT = 4_000
INF = float("inf")


@functools.cache
def samples_of(name):
    return {p: np.asarray(v) for p, v in FAMILIES[name].sample(jax.random.key(1), COUNT).items()}


def ends(**openness):
    return Interval(0.25, 0.75, **openness)


def test_ends_belong_to_an_interval_unless_marked_open():
    assert [value in ends() for value in (0.25, 0.5, 0.75)] == [True, True, True]
    assert [value in ends(open_low=True) for value in (0.25, 0.5, 0.75)] == [False, True, True]
    assert [value in ends(open_high=True) for value in (0.25, 0.5, 0.75)] == [True, True, False]


def test_the_neighbours_of_an_end_fall_on_their_sides():
    for openness in ({}, {"open_low": True, "open_high": True}):
        assert math.nextafter(0.25, 1) in ends(**openness)
        assert math.nextafter(0.75, 0) in ends(**openness)
        assert math.nextafter(0.25, 0) not in ends(**openness)
        assert math.nextafter(0.75, 1) not in ends(**openness)


@pytest.mark.parametrize("value", [INF, -INF, float("nan")])
def test_no_interval_contains_what_is_not_finite(value):
    assert value not in Interval(-INF, INF)
    assert value not in Interval(0.0, 1.0)


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (0.0, float("nan"))])
def test_low_must_be_below_high(low, high):
    with pytest.raises(ValueError, match="low must be below high"):
        Interval(low, high)


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_a_log_interval_must_be_positive(low):
    with pytest.raises(ValueError, match="positive where log=True"):
        Interval(low, 1.0, log=True)


def test_an_interval_prints_its_open_and_infinite_ends():
    assert str(Interval(0.0, 1.0)) == "[0, 1]"
    assert str(Interval(0.0, 1.0, open_low=True, open_high=True)) == "(0, 1)"
    assert str(Interval(-INF, INF)) == "(-inf, inf)"
    assert repr(Interval(0.1, 5.0, log=True)) == "Interval [0.1, 5] (log)"


OPEN = Interval(0.0, 1.0, open_low=True, open_high=True)


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        (Interval(0.0, 1.0), Interval(0.0, 1.0), True),
        (Interval(0.1, 0.9), OPEN, True),
        (OPEN, Interval(0.0, 1.0), True),
        (Interval(0.0, 1.0), OPEN, False),
        (Interval(0.0, 0.5), OPEN, False),
        (Interval(0.5, 1.0), OPEN, False),
        (Interval(-0.1, 0.5), Interval(0.0, 1.0), False),
        (Interval(0.5, 2.0), Interval(0.0, INF), True),
        (OPEN, OPEN, True),
        (Interval(0.0, 0.5, open_low=True), OPEN, True),
        (Interval(0.0, INF), Interval(0.0, INF), True),
        (Interval(0.0, INF), Interval(0.0, 1.0), False),
    ],
)
def test_within_says_whether_every_number_of_one_lies_in_the_other(inner, outer, expected):
    assert inner.within(outer) == expected


def test_a_fraction_maps_linearly_or_along_the_logarithm():
    fractions = jnp.asarray([0.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(Interval(2.0, 4.0).from_unit(fractions), [2, 2.5, 3, 4], rtol=1e-6)
    # exp of up to ln 10^4 = 9.2 in float32: 9.2 · eps
    logarithmic = Interval(0.01, 100.0, log=True).from_unit(fractions)
    np.testing.assert_allclose(logarithmic, [0.01, 0.1, 1, 100], rtol=2e-6)


@pytest.mark.parametrize(("low", "high"), [(1e-30, 1e30), (1e-37, 1e37), (1e-37, 1.0), (1.0, 3e38)])
def test_a_ratio_beyond_a_float32_maps_along_the_logarithm_too(low, high):
    fractions = np.linspace(0, 1, 41).astype(np.float32)
    interval = Interval(low, high, log=True)
    expected = np.exp(np.log(low) + fractions.astype(np.float64) * (np.log(high) - np.log(low)))
    # an exponent of up to 90 rounds by 2^-18
    np.testing.assert_allclose(interval.from_unit(jnp.asarray(fractions)), expected, rtol=2**-16)
    np.testing.assert_allclose([interval.to_unit(value) for value in expected], fractions, atol=1e-12)


def test_a_ratio_beyond_a_float64_maps_along_the_logarithm_too():
    with jax.enable_x64(True):
        values = Interval(1e-300, 1e300, log=True).from_unit(jnp.asarray([0.0, 0.25, 0.5, 0.7, 1.0]))
        np.testing.assert_allclose(values, [1e-300, 1e-150, 1, 1e120, 1e300], rtol=1e-12)
    assert Interval(1e-300, 1e300, log=True).to_unit(1e120) == pytest.approx(0.7, rel=1e-14)


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_stay_in_the_space_and_in_the_domain(name):
    family = FAMILIES[name]
    samples = samples_of(name)
    assert list(samples) == list(family.space)
    for parameter, values in samples.items():
        interval = family.space[parameter]
        assert values.shape == (COUNT,)
        assert values.min() >= np.float32(interval.low)
        assert values.max() <= np.float32(interval.high)
        assert float(values.min()) in family.domain[parameter]
        assert float(values.max()) in family.domain[parameter]


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_are_uniform_or_log_uniform(name):
    samples = samples_of(name)
    for parameter, interval in FAMILIES[name].space.items():
        prior = stats.loguniform if interval.log else stats.uniform
        span = (interval.low, interval.high if interval.log else interval.high - interval.low)
        # a fixed key and 70 parameters in all: one would fall below 1e-4 in 1 of 140 keys
        assert stats.kstest(samples[parameter], prior(*span).cdf).pvalue > 1e-4, parameter


@pytest.mark.parametrize("name", [name for name in FAMILIES if len(FAMILIES[name].space) > 1])
def test_draws_of_different_parameters_are_independent(name):
    samples = np.stack(list(samples_of(name).values()))
    correlations = stats.spearmanr(samples, axis=1).statistic
    off_diagonal = (
        np.atleast_2d(correlations)[np.triu_indices(len(samples), 1)] if len(samples) > 2 else correlations
    )
    assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(COUNT)  # of at most 55 pairs, each with σ = 1/√n


def test_draws_depend_on_the_key():
    first, second = (FAMILIES["rex"].sample(jax.random.key(seed), 100)["beta"] for seed in (0, 1))
    assert not np.isin(first, second).any()


def test_the_search_ranges_are_those_of_the_specification():
    def span(name, parameter):
        interval = FAMILIES[name].space[parameter]
        return interval.low, interval.high, interval.log

    for name in ("two_point_linear", "two_point_spline", "two_point_spline_floor"):
        assert span(name, "x0") == (0.01, 0.25, False)
        assert span(name, "y1") == (0.1, 1, False)
        assert [span(name, p) for p in ("dx1", "dx2", "dy2")] == [(0, 1, False)] * 3
    assert all(span(n, "warmup") == (0, 0.3, False) for n in FAMILIES if "warmup" in FAMILIES[n].space)
    assert FAMILIES["generalized_cosine"].space["exponent"].log
    assert span("power", "exponent") == (0.1, 5, True)
    assert span("inverse_sqrt", "timescale") == (0.01, 1, True)
    assert span("exponential", "rate") == (0.1, 10, True)
    assert (span("wsd", "decay"), span("wsd", "floor")) == ((0.05, 1, False), (0, 0.2, False))
    assert (span("hold_power", "hold"), span("hold_power", "floor")) == ((0, 0.95, False), (0, 0.2, False))
    assert span("hold_power", "exponent") == (0.2, 3, True)
    assert all(span("knots", f"level_{k}") == (0, 1, False) for k in range(1, 11))
    assert all(span("free", f"level_{k}") == (0, 1, False) for k in range(8))
