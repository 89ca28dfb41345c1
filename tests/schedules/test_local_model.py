"""The quadratic of a local search, on scores of any sign and unit."""

import numpy as np
import pytest

from schedules.search import Scale
from schedules.search.box import Box
from schedules.search.local_model import Measured, fit_quadratic


def fitted(unit, constant):
    """To scores of which a quadratic explains only a part, so that their weights tell."""
    rng = np.random.default_rng(0)
    points = rng.random((40, 2))
    scores = np.exp(3 * np.abs(points - 0.4).sum(axis=1, keepdims=True)) + 0.1 * rng.normal(size=(40, 3))
    measured = Measured().add(points, unit * scores + constant)
    return fit_quadratic(measured, Box(np.zeros(2), np.ones(2)), Scale.ABSOLUTE)


@pytest.mark.parametrize(("unit", "constant"), [(2.0**20, 0.0), (2.0**-40, 0.0), (1.0, -1024.0)])
def test_the_fit_has_the_unit_of_the_scores_and_knows_no_constant(unit, constant):
    expected, found = fitted(1.0, 0.0), fitted(unit, constant)
    # a constant of 2^10 costs ten of the 52 bits
    np.testing.assert_allclose(found.mean, unit * expected.mean, rtol=1e-9)
    np.testing.assert_allclose(
        [found.noise, found.misfit], [unit * expected.noise, unit * expected.misfit], rtol=1e-9
    )
