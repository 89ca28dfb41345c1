"""What sharpness says, and does not, along the valley of one function; and how far gradients agree."""

import jax
import numpy as np
import pytest

from geometry import curvature_matrix, hessian_product
from geometry.measures import mean_cosine

cosine = jax.jit(mean_cosine)


@jax.jit
def dense_hessian(point):
    hessian = hessian_product(lambda w: (w[0] * w[1] - 1) ** 2 / 2, point)  # least wherever ab = 1
    return curvature_matrix(hessian, point)


@pytest.mark.parametrize(("a", "trace"), [(1.0, 2.0), (10.0, 100.01)])
def test_the_trace_grows_along_one_minimum_and_the_weighted_trace_does_not(a, trace):
    point = np.float32([a, 1 / a])
    matrix = np.asarray(dense_hessian(point))
    assert np.trace(matrix) == pytest.approx(trace, rel=1e-5)
    assert np.diag(matrix) @ np.square(point) == pytest.approx(2, rel=1e-5)


def test_the_cosine_of_equal_gradients_is_one_and_of_noise_about_zero():
    same = {"kernel": np.ones((5, 2, 3), np.float32), "bias": -np.ones((5, 3), np.float32)}
    assert float(cosine(same)) == pytest.approx(1, abs=1e-6)
    noise = np.random.default_rng(0).normal(size=(8, 10_000)).astype(np.float32)
    assert abs(float(cosine(noise))) < 4 * np.sqrt(2 / (8 * 7)) / 100  # 28 pairs, each of deviation 1/100


def test_a_gradient_of_zero_is_at_right_angles_to_all():
    assert float(cosine(np.float32([[1e-30, 0.0], [2e30, 0.0], [0.0, 0.0]]))) == pytest.approx(1 / 3)
