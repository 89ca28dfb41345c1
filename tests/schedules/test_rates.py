"""The grid of base learning rates and its extension past an edge."""

import math

import pytest

from schedules.search import RateGrid
from schedules.search.rates import best_rate, is_bracketed, next_rate

GRID = RateGrid((0.1, 0.2, 0.8))


@pytest.mark.parametrize(
    ("index", "rate"),
    [(-3, 0.0125), (-1, 0.05), (0, 0.1), (1, 0.2), (2, 0.8), (3, 3.2), (5, 51.2)],
)
def test_past_an_edge_the_edges_own_ratio_goes_on(index, rate):
    assert math.isclose(GRID[index], rate, rel_tol=1e-12)


def test_the_given_rates_come_back_exactly():
    assert [GRID[k] for k in range(len(GRID))] == [0.1, 0.2, 0.8]


@pytest.mark.parametrize(
    "rates",
    [(), (0.0, 0.1), (-0.1, 0.1), (0.2, 0.1), (0.1, 0.1), (0.1, math.inf), (math.nan,), (0.1, math.nan)],
)
def test_rates_that_are_not_positive_finite_and_ascending_are_refused(rates):
    with pytest.raises(ValueError, match="positive, finite and strictly ascending"):
        RateGrid(rates)


@pytest.mark.parametrize("index", [-1, 1])
def test_a_grid_of_one_rate_cannot_be_extended(index):
    single = RateGrid((0.1,))
    assert single[0] == 0.1
    with pytest.raises(IndexError, match="no ratio"):
        single[index]
    assert next_rate({0: 1.0}, single, max_extensions=3) is None


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ({0: 3.0, 1: 1.0, 2: 2.0}, 1),
        ({2: 1.0, 1: 1.0, 0: 5.0}, 1),
        ({3: 0.5, 0: 0.5, -1: 0.5, 2: 0.5}, -1),
        ({0: math.inf, 1: math.inf, 2: 4.0}, 2),
        ({1: math.inf, 0: math.inf}, 0),
    ],
)
def test_the_best_rate_is_the_smallest_of_those_with_the_lowest_score(scores, best):
    assert best_rate(scores) == best


@pytest.mark.parametrize(
    ("scores", "bracketed"),
    [
        ({0: 2.0, 1: 1.0, 2: 3.0}, True),
        ({0: 2.0, 1: 1.0, 2: math.inf}, True),
        ({0: 1.0, 1: 2.0, 2: 3.0}, False),
        ({0: 3.0, 1: 2.0, 2: 1.0}, False),
        ({0: 2.0, 1: 1.0, 2: 1.0}, True),
        ({0: 1.0, 1: 1.0, 2: 2.0}, False),
        ({0: 1.0}, False),
        ({0: math.inf, 1: math.inf, 2: math.inf}, False),
    ],
)
def test_a_best_rate_is_bracketed_between_worse_or_equal_ones(scores, bracketed):
    assert is_bracketed(scores) == bracketed


@pytest.mark.parametrize(
    ("scores", "max_extensions", "expected"),
    [
        ({0: 2.0, 1: 1.0, 2: 3.0}, 5, None),
        ({0: 1.0, 1: 2.0, 2: 3.0}, 1, -1),
        ({0: 3.0, 1: 2.0, 2: 1.0}, 1, 3),
        ({0: 1.0, 1: 2.0, 2: 3.0}, 0, None),
        ({0: 3.0, 1: 2.0, 2: 1.0}, 0, None),
        ({-1: 1.0, 0: 2.0, 1: 3.0, 2: 3.0}, 1, None),
        ({-1: 1.0, 0: 2.0, 1: 3.0, 2: 3.0}, 2, -2),
        ({0: 3.0, 1: 2.0, 2: 1.0, 3: 0.5}, 1, None),
        ({0: 3.0, 1: 2.0, 2: 1.0, 3: 0.5}, 2, 4),
        ({0: math.inf, 1: math.inf, 2: math.inf}, 2, -1),  # all diverged: smaller is where to look
    ],
)
def test_the_next_rate_is_one_past_the_best_edge_up_to_the_limit(scores, max_extensions, expected):
    assert next_rate(scores, GRID, max_extensions) == expected
