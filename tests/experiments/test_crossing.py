"""Where a curve reaches a target, by hand."""

import math

import numpy as np

from experiments.study.statistics.curves import first_reached

STEPS = (10, 20, 30)


def test_where_a_curve_reaches_a_level_is_interpolated_between_its_points():
    curve = np.array([4.0, 2.0, 1.0])
    assert first_reached(curve, STEPS, 1.5) == 25
    assert first_reached(curve, STEPS, 1.0) == 30
    assert first_reached(curve, STEPS, 5.0) == 10


def test_what_is_never_reached_takes_infinitely_many_steps():
    assert first_reached(np.array([4.0, 2.0, 1.0]), STEPS, 0.5) == math.inf
    assert first_reached(np.array([4.0, math.nan, math.inf]), STEPS, 3.0) == math.inf


def test_the_first_of_several_crossings_counts():
    assert first_reached(np.array([4.0, 2.0, 3.0, 1.0]), (*STEPS, 40), 2.5) == 17.5


def test_nothing_is_interpolated_from_a_point_that_diverged():
    for diverged in (math.inf, math.nan):
        assert first_reached(np.array([diverged, 2.0, 1.0]), STEPS, 2.5) == 20
