"""What sharpness says, and does not, along the valley of one function; and how far gradients agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from geometry import curvature_matrix, hessian_product
from geometry.measures import mean_cosine


@pytest.mark.parametrize(("a", "trace"), [(1.0, 2.0), (10.0, 100.01)])
def test_the_trace_grows_along_one_minimum_and_the_weighted_trace_does_not(a, trace):
    point = jnp.array([a, 1 / a])
    hessian = hessian_product(lambda w: (w[0] * w[1] - 1) ** 2 / 2, point)  # least wherever ab = 1
    matrix = np.asarray(curvature_matrix(hessian, point))
    assert np.trace(matrix) == pytest.approx(trace, rel=1e-5)
    assert np.diag(matrix) @ np.square(point) == pytest.approx(2, rel=1e-5)


def test_the_cosine_of_equal_gradients_is_one_and_of_noise_about_zero():
    same = {"kernel": jnp.ones((5, 2, 3)), "bias": -jnp.ones((5, 3))}
    assert float(mean_cosine(same)) == pytest.approx(1, abs=1e-6)
    noise = jax.random.normal(jax.random.key(0), (8, 10_000))
    assert (
        abs(float(mean_cosine(noise))) < 4 * np.sqrt(2 / (8 * 7)) / 100
    )  # 28 pairs, each of deviation 1/100


def test_a_gradient_of_zero_is_at_right_angles_to_all():
    assert float(mean_cosine(jnp.array([[1e-30, 0.0], [2e30, 0.0], [0.0, 0.0]]))) == pytest.approx(1 / 3)
