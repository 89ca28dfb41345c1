"""The unit cube of a family's shapes and learning rates: there and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules import FAMILIES, Interval
from schedules.search import SearchSpace, Trial

RATES = Interval(0.01, 1.0, log=True)
INTERVALS = [
    Interval(0.0, 1.0),
    Interval(-3.0, 7.0),
    Interval(0.1, 0.3),
    RATES,
    Interval(1e-6, 1e3, log=True),
]
every_interval = pytest.mark.parametrize("interval", INTERVALS, ids=repr)


@every_interval
@given(fraction=st.floats(0, 1, width=32))
def test_to_unit_undoes_from_unit(interval, fraction):
    value = float(interval.from_unit(jnp.float32(fraction)))
    # float32 rounds the value by 2^-24 of its size, and exp multiplies that of its argument, up to ln(1e9)
    resolution = (
        1 if interval.log else max(abs(interval.low), abs(interval.high)) / (interval.high - interval.low)
    )
    assert interval.to_unit(value) == pytest.approx(fraction, abs=3 * 2.0**-24 * resolution)


@every_interval
def test_a_value_outside_is_taken_to_the_end(interval):
    assert interval.to_unit(interval.low / 2 - 4) == interval.to_unit(interval.low) == 0
    assert interval.to_unit(interval.high * 2 + 4) == interval.to_unit(interval.high) == 1


def test_to_unit_is_linear_or_along_the_logarithm():
    assert [Interval(2.0, 4.0).to_unit(value) for value in (2.0, 2.5, 3.0, 4.0)] == [0, 0.25, 0.5, 1]
    logarithmic = [RATES.to_unit(value) for value in (0.01, 0.0316227766, 0.1, 1.0)]
    assert logarithmic == pytest.approx([0, 0.25, 0.5, 1], abs=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_corners_of_the_cube_are_the_ends_of_the_intervals(name):
    family = FAMILIES[name]
    space = SearchSpace(family, RATES)
    assert space.dimensions == len(family.space) + 1
    lowest, highest = space.candidates(np.array([[0.0], [1.0]]) * np.ones(space.dimensions), first=5)
    assert (lowest.number, highest.number) == (5, 6)
    for parameter, interval in family.space.items():
        ends = lowest.params[parameter], highest.params[parameter]
        np.testing.assert_allclose(ends, (interval.low, interval.high), rtol=1e-6)
    np.testing.assert_allclose((lowest.base_lr, highest.base_lr), (0.01, 1.0), rtol=1e-6)


@pytest.mark.parametrize("name", ["linear", "power", "smooth_nonmonotonic", "free"])
def test_a_candidate_stands_at_the_point_it_was_made_from(name):
    space = SearchSpace(FAMILIES[name], RATES)
    points = np.random.default_rng(0).random((5, space.dimensions)).astype(np.float32)
    again = np.stack([space.point(candidate) for candidate in space.candidates(points, 0)])
    assert again.dtype == np.float32
    np.testing.assert_allclose(
        again, points, rtol=0, atol=1e-6
    )  # spaces of up to 10 times their width from 0


def test_the_axes_are_the_parameters_in_order_and_then_the_rate():
    (candidate,) = SearchSpace(FAMILIES["wsd"], RATES).candidates(np.array([[0.5, 0.0, 1.0, 0.5]]), 0)
    np.testing.assert_allclose([*candidate.params.values()], [0.15, 0.05, 0.2], rtol=1e-6)
    assert list(candidate.params) == ["warmup", "decay", "floor"]
    assert candidate.base_lr == pytest.approx(0.1, rel=1e-6)


def test_a_candidate_outside_the_space_stands_on_its_edge():
    space = SearchSpace(FAMILIES["linear"], Interval(0.5, 1.0, log=True))
    (candidate,) = SearchSpace(FAMILIES["linear"], RATES).candidates(np.array([[0.5, 0.5]]), 0)
    np.testing.assert_allclose(space.point(candidate), [0.5, 0.0], atol=1e-6)


def test_learning_rates_must_be_logarithmic():
    with pytest.raises(ValueError, match="learning_rates must be a logarithmic interval"):
        SearchSpace(FAMILIES["linear"], Interval(0.1, 1.0))


def test_a_trial_trains_at_the_base_rate_times_the_shape():
    (candidate,) = SearchSpace(FAMILIES["linear"], RATES).candidates(np.array([[0.4, 0.3]]), 0)
    warmup, x = 0.12, np.arange(10) / 10
    expected = 0.01 * 100**0.3 * np.where(x < warmup, x / warmup, (1 - x) / (1 - warmup))
    rates = Trial("screen", candidate, 10, 0).learning_rates
    np.testing.assert_allclose(rates, expected, rtol=0, atol=3e-8)  # a few float32 roundings of 0.04


def test_a_trials_key_is_its_stages_and_replicates_and_nothing_elses():
    first, other = SearchSpace(FAMILIES["linear"], RATES).candidates(np.array([[0.4, 0.3], [0.1, 0.2]]), 0)
    keys = {}
    for stage in ("screen", "select"):
        for trial in (Trial(stage, first, 10, 0), Trial(stage, first, 10, 1), Trial(stage, other, 20, 1)):
            key = tuple(jax.random.key_data(trial.key(jax.random.key(7))).tolist())
            keys.setdefault((stage, trial.replicate), set()).add(key)
    assert all(len(group) == 1 for group in keys.values())
    assert len(set.union(*keys.values())) == len(keys) == 4


def test_the_identity_of_a_trial_tells_apart_whatever_differs():
    first, other = SearchSpace(FAMILIES["linear"], RATES).candidates(np.array([[0.4, 0.3], [0.1, 0.2]]), 0)
    (third,) = SearchSpace(FAMILIES["cosine"], RATES).candidates(np.array([[0.4, 0.3]]), 0)
    trials = [Trial("screen", first, 10, 0), Trial("select", first, 10, 0), Trial("screen", other, 10, 0)]
    trials += [Trial("screen", third, 10, 0), Trial("screen", first, 20, 0), Trial("screen", first, 10, 1)]
    assert len({trial.identity for trial in trials}) == len(trials)
