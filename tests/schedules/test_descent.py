"""Descent on functions whose minimum is known, and what it does where they are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, rosen

from schedules.descent import MINIMISERS, adam, lbfgs


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_lbfgs_solves_rosenbrock_in_about_as_many_evaluations_as_scipy():
    start = np.array([-1.2, 1.0, -0.5, 2.0])
    with jax.enable_x64(True):
        end = jax.jit(lambda x: lbfgs(rosenbrock, x, 500))(jnp.asarray(start))
    np.testing.assert_allclose(end.point, np.ones(4), atol=1e-4)
    scipys = minimize(rosen, start, method="L-BFGS-B", options={"ftol": 1e-14}).nfev * 5  # its differences
    assert int(end.evaluations) < scipys


@pytest.mark.parametrize("name", MINIMISERS)
def test_a_badly_scaled_quadratic_is_solved_and_the_budget_kept(name):
    scales = jnp.array([1.0, 10.0, 100.0])
    budget = 300
    with jax.enable_x64(True):
        end = jax.jit(lambda x: MINIMISERS[name](lambda x: jnp.sum(scales * (x - 2) ** 2), x, budget))(
            jnp.zeros(3)
        )
        assert int(end.evaluations) <= budget
    np.testing.assert_allclose(end.point, 2 * np.ones(3), atol=1e-3)


@pytest.mark.parametrize("name", MINIMISERS)
def test_a_region_that_is_not_finite_is_avoided(name):
    def walled(x):  # undefined beyond 1, lowest at 0.9
        return jnp.where(x[0] < 1, (x[0] - 0.9) ** 2, jnp.log(1 - x[0]))

    with jax.enable_x64(True):
        end = jax.jit(lambda x: MINIMISERS[name](walled, x, 300))(jnp.array([-30.0]) / 10)
    np.testing.assert_allclose(end.point, [0.9], atol=1e-3)
    assert float(end.value) < 1e-6


@pytest.mark.parametrize("name", MINIMISERS)
def test_a_start_that_is_not_finite_is_reported_as_infinite(name):
    end = MINIMISERS[name](lambda x: jnp.log(x[0]), jnp.array([-1.0]), 20)
    assert float(end.value) == np.inf
    np.testing.assert_array_equal(end.point, [-1.0])


def test_adam_returns_the_lowest_point_it_came_through():
    visited = []

    def remembered(x):
        jax.debug.callback(lambda x: visited.append(float(x[0])), x)
        return jnp.abs(x[0])

    end = adam(remembered, jnp.array([0.2]), 5)
    jax.effects_barrier()
    assert len(visited) == 5
    assert abs(float(end.point[0])) == pytest.approx(min(map(abs, visited)))
    assert abs(visited[-1]) > abs(float(end.point[0]))


def test_curvature_that_leads_uphill_is_forgotten():
    # concave at the start: the secant there has the wrong sign
    with jax.enable_x64(True):
        end = jax.jit(lambda x: lbfgs(lambda x: -jnp.sum(jnp.exp(-((x - 3) ** 2) / 2)), x, 200))(
            jnp.array([0.0, 0.5])
        )
    np.testing.assert_allclose(end.point, [3, 3], atol=1e-4)
