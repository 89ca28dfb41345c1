"""The geometry of a path, against its definition in float64 and against what follows from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats

from geometry import path_geometry

SHAPES = {"kernel": (7, 5), "bias": (5,), "scale": ()}
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-13}  # sums of 41 rounded terms
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)


def tree(seed, dtype=np.float64, scale=1.0):
    rng = np.random.default_rng(seed)
    return {name: np.asarray(scale * rng.standard_normal(shape), dtype) for name, shape in SHAPES.items()}


measured = jax.jit(path_geometry)


def raveled(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def definition(gradient, params, reference):
    g, w, end = (np.float64(raveled(t)) for t in (gradient, params, reference))
    rsi = g @ (w - end) / np.sum((w - end) ** 2)
    eb = np.linalg.norm(g) / np.linalg.norm(w - end)
    return rsi, eb, rsi / eb, rsi / eb**2


@dtypes
def test_the_four_numbers_are_their_definitions_on_a_tree_of_several_leaves(dtype):
    with jax.enable_x64(dtype == np.float64):
        trees = tree(0, dtype), tree(1, dtype, 3.0), tree(2, dtype)
        found = measured(*trees)
        assert {value.dtype for value in found} == {np.dtype(dtype)}
        np.testing.assert_allclose(found, definition(*trees), rtol=TOLERANCE[dtype])


def test_narrow_floats_are_computed_in_float32():
    narrow = [tree(seed, jnp.bfloat16) for seed in range(3)]
    wide = [jax.tree.map(lambda leaf: leaf.astype(np.float32), t) for t in narrow]
    found = measured(*narrow)
    np.testing.assert_allclose(found, definition(*wide), rtol=1e-5)
    assert found.step.dtype == jnp.float32


@dtypes
def test_the_step_is_the_best_one_and_leaves_one_minus_the_squared_cosine(dtype):
    with jax.enable_x64(dtype == np.float64):
        g, w, end = tree(0, dtype), tree(1, dtype), tree(2, dtype)
        found = measured(g, w, end)

        def distance(step):
            moved = jax.tree.map(lambda w, g, end: w - np.asarray(step) * g - end, w, g, end)
            return float(np.sum(raveled(moved) ** 2))

        best = distance(found.step) / distance(0.0)
        assert best == pytest.approx(1 - float(found.cosine) ** 2, rel=TOLERANCE[dtype])
        assert best * distance(0.0) < min(distance(0.9 * found.step), distance(1.1 * found.step))


def test_over_equal_mini_batches_rsi_averages_and_eb_does_not_fall():
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        inputs, targets = rng.standard_normal((24, 6)), rng.standard_normal(24)
        w, end = rng.standard_normal((2, 6))

        def geometry_of(rows):
            return measured(inputs[rows].T @ (inputs[rows] @ w - targets[rows]) / len(rows), w, end)

        full = geometry_of(np.arange(24))
        parts = [geometry_of(rows) for rows in np.arange(24).reshape(4, 6)]
        assert np.mean([part.rsi for part in parts]) == pytest.approx(float(full.rsi), rel=1e-12)
        assert np.mean([part.eb**2 for part in parts]) > 1.1 * float(full.eb) ** 2


def test_on_a_quadratic_rsi_is_the_rayleigh_quotient():
    with jax.enable_x64(True):
        hessian, w = np.diag([1.0, 4.0, 9.0]), np.array([3.0, 2.0, 1.0])
        found = measured(hessian @ w, w, np.zeros(3))
        assert float(found.rsi) == pytest.approx((9 + 16 + 9) / 14, rel=1e-14)
        eigenvector_path = measured(hessian[1], np.eye(3)[1], np.zeros(3))
        np.testing.assert_allclose(eigenvector_path, (4, 4, 1, 0.25), rtol=1e-14)


@pytest.mark.parametrize("factor", [1e-30, 3.0, 1e30])
def test_scaling_the_loss_scales_rsi_and_eb_and_leaves_the_cosine(factor):
    g, w, end = tree(0, np.float32), tree(1, np.float32), tree(2, np.float32)
    rsi, eb, cosine, step = map(float, measured(g, w, end))
    scaled = measured(jax.tree.map(lambda leaf: np.float32(factor) * leaf, g), w, end)
    expected = [factor * rsi, factor * eb, cosine, step / factor]
    np.testing.assert_allclose(scaled, expected, rtol=1e-5)


@pytest.mark.parametrize("factor", [1e-25, 1e25])
def test_parameters_of_any_scale_neither_overflow_nor_vanish(factor):
    scaled = [tree(seed, np.float32, factor) for seed in range(3)]
    np.testing.assert_allclose(measured(*scaled), definition(*scaled), rtol=1e-5)


@pytest.mark.parametrize("measure", [measured, path_geometry], ids=["jitted", "eager"])
def test_without_a_gradient_or_a_way_left_everything_is_zero(measure):
    g, w = tree(0, np.float32), tree(1, np.float32)
    zero = jax.tree.map(np.zeros_like, g)
    np.testing.assert_array_equal(measure(zero, w, g), 4 * [0.0])
    np.testing.assert_array_equal(measure(g, w, w), 4 * [0.0])


def test_one_leaf_without_a_gradient_still_counts_in_the_distance():
    g, w, end = tree(0, np.float32), tree(1, np.float32), tree(2, np.float32)
    g["bias"] = np.zeros(5, np.float32)
    end["scale"] = w["scale"]
    np.testing.assert_allclose(measured(g, w, end), definition(g, w, end), rtol=1e-5)


def test_the_cosine_of_a_random_direction_has_variance_one_over_the_number_of_parameters():
    w, end = tree(1, np.float32), tree(2, np.float32)
    flat, unravel = ravel_pytree(w)
    count = 4_000

    def cosine(key):
        return path_geometry(unravel(jax.random.normal(key, flat.shape)), w, end).cosine

    found = np.asarray(jax.jit(jax.vmap(cosine))(jax.random.split(jax.random.key(0), count)))
    deviations = found * np.sqrt(flat.size)
    # the square of a random direction's cosine is Beta(1/2, (d-1)/2): mean 1/d, and this spread
    spread = flat.size * stats.beta(0.5, (flat.size - 1) / 2).std()
    assert abs(np.mean(deviations)) < 4 / np.sqrt(count)
    assert abs(np.mean(deviations**2) - 1) < 4 * spread / np.sqrt(count)
