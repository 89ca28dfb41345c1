"""Takeuchi's criterion against linear models in closed form, NumPy in float64, and its invariances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from geometry import curvature, information

FLOAT64 = 1e-10  # relative, at condition numbers of some thousands
SIGMAS = 4.5
SAMPLES, DIMENSION, NOISE = 200, 5, 0.7  # expected gap 0.0124, predicted 0.0119


def squared_error(weights, sample):
    x, y = sample
    return (y - x @ weights) ** 2 / 2


@functools.cache
def linear_fits(repeats=2000):
    """For simulated data sets: TIC/n, the measured gap, and the expectations of both given the inputs."""
    truth = jnp.arange(1.0, DIMENSION + 1)

    @jax.jit
    def fit(key):
        inputs_key, noise_key = jax.random.split(key)
        x = jax.random.normal(inputs_key, (SAMPLES, DIMENSION))
        y = x @ truth + NOISE * jax.random.normal(noise_key, (SAMPLES,))
        gram = x.T @ x
        weights = jnp.linalg.solve(gram, x.T @ y)
        residuals = y - x @ weights
        gap = (NOISE**2 + jnp.sum((weights - truth) ** 2) - jnp.mean(residuals**2)) / 2
        gradients = information.per_sample_gradients(squared_error, weights, (x, y))
        hessian = curvature.hessian_product(lambda w: jnp.mean((y - x @ w) ** 2) / 2, weights)
        predicted = (
            information.takeuchi_exact(curvature.curvature_matrix(hessian, weights), gradients) / SAMPLES
        )
        leverages = jnp.sum(x * jnp.linalg.solve(gram, x.T).T, axis=1)
        return predicted, gap, NOISE**2 * (DIMENSION - jnp.sum(leverages**2)) / SAMPLES

    fits = jax.lax.map(fit, jax.random.split(jax.random.key(0), repeats), batch_size=200)
    return [np.asarray(x, np.float64) for x in fits]


def z_score(values, expected):
    differences = values - expected
    return differences.mean() / (differences.std(ddof=1) / np.sqrt(len(differences)))


def test_it_is_the_noise_times_the_dimension_in_a_linear_model():
    predicted, _, expected = linear_fits()
    assert abs(z_score(predicted, expected)) < SIGMAS
    assert expected.mean() == pytest.approx(NOISE**2 * DIMENSION / SAMPLES, rel=0.05)


def test_it_predicts_the_gap_of_a_linear_model():
    predicted, gap, _ = linear_fits()
    expected = NOISE**2 / 2 * (DIMENSION / (SAMPLES - DIMENSION - 1) + DIMENSION / SAMPLES)
    assert abs(z_score(gap, expected)) < SIGMAS
    assert predicted.mean() == pytest.approx(expected, rel=0.07)  # they differ by O(d/n)


def positive_definite(seed, size, smallest=0.01):
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return q * np.geomspace(smallest, 3, size) @ q.T, rng.standard_normal((40, size)) @ rng.standard_normal(
        (size, size)
    )


@jax.jit
def approximations(h, gradients, damping):
    return jnp.stack(
        [
            information.takeuchi_exact(h, gradients, damping),
            information.takeuchi_blocks(h, gradients, damping),
            information.takeuchi_diagonal(jnp.diag(h), gradients, damping),
            information.takeuchi_trace_ratio(jnp.trace(h), gradients, damping),
        ]
    )


exact_value, trace_ratio, diagonal_value = map(
    jax.jit, (information.takeuchi_exact, information.takeuchi_trace_ratio, information.takeuchi_diagonal)
)


@pytest.mark.parametrize("damping", [0.0, 0.1, 10.0])
def test_the_exact_value_is_numpys_and_the_trace_ratio_lies_below(damping):
    with jax.enable_x64(True):
        for seed in range(5):
            h, rows = positive_definite(seed, 8)
            tree = {"a": jnp.asarray(rows[:, :6].reshape(40, 2, 3)), "b": jnp.asarray(rows[:, 6:])}
            expected = np.trace(np.linalg.solve(h + damping * np.eye(8), rows.T @ rows / 40))
            exact = exact_value(h, tree, damping)
            assert float(exact) == pytest.approx(expected, rel=FLOAT64)
            ratio = trace_ratio(np.trace(h), tree, damping)
            assert float(ratio) == pytest.approx(np.sum(rows**2) / 40 / (np.trace(h) + damping), rel=FLOAT64)
            assert ratio < exact


def test_directions_without_curvature_are_left_out_as_by_the_pseudo_inverse():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((7, 7)))[0][:, :4]
    h = basis * np.array([0.5, 1.0, 2.0, 3.0]) @ basis.T
    rows = rng.standard_normal((20, 7))
    expected = np.trace(np.linalg.pinv(h) @ (rows.T @ rows / 20))
    found = exact_value(np.float32(h), np.float32(rows))
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_undamped_it_does_not_depend_on_the_parametrisation():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        x, y, change = (rng.standard_normal(shape) for shape in ((30, 4), (30,), (4, 4)))
        point = rng.standard_normal(4)

        @jax.jit
        def criterion(change, point):
            def loss(u, sample):
                return jnp.logaddexp(0, -sample[1] * (sample[0] @ (change @ u)))

            gradients = information.per_sample_gradients(loss, point, (x, y))
            mean = curvature.hessian_product(lambda u: jnp.mean(jax.vmap(loss, (None, 0))(u, (x, y))), point)
            return information.takeuchi_exact(curvature.curvature_matrix(mean, point), gradients)

        original = criterion(np.eye(4), change @ point)
        assert criterion(change, point) == pytest.approx(float(original), rel=FLOAT64)


def test_under_heavy_damping_only_the_trace_of_the_second_moment_is_left():
    h, rows = map(np.float32, positive_definite(3, 6))
    expected = np.sum(rows**2) / 40
    for value in approximations(h, rows, 1e7):
        assert 1e7 * float(value) == pytest.approx(expected, rel=1e-5)


def block_diagonal():
    (first, rows), (second, _) = positive_definite(4, 6), positive_definite(5, 3)
    more = np.random.default_rng(6).standard_normal((40, 3))
    h = np.zeros((9, 9))
    h[:6, :6], h[6:, 6:] = first, second
    return h, np.concatenate([rows, more], axis=1)


@jax.jit
def by_blocks_and_exact(h, tree):
    like = jax.tree.map(lambda leaf: leaf[0], tree)
    unravel = ravel_pytree(like)[1]
    blocks = curvature.curvature_blocks(lambda v: unravel(h @ ravel_pytree(v)[0]), like)
    return information.takeuchi_blocks(blocks, tree, 0.1), information.takeuchi_exact(h, tree, 0.1)


@pytest.mark.parametrize("coupling", [0.0, 0.05])
def test_blocks_are_exact_where_no_two_leaves_are_coupled_and_only_there(coupling):
    with jax.enable_x64(True):
        h, rows = block_diagonal()
        h[0, 8] = h[8, 0] = coupling
        tree = {"a": jnp.asarray(rows[:, :6].reshape(40, 3, 2)), "b": jnp.asarray(rows[:, 6:])}
        found, exact = map(float, by_blocks_and_exact(h, tree))
        damped = h + 0.1 * np.eye(9)
        parts = [
            np.linalg.solve(damped[s, s], rows[:, s].T @ rows[:, s] / 40) for s in (slice(6), slice(6, 9))
        ]
        assert found == pytest.approx(sum(map(np.trace, parts)), rel=FLOAT64)
        assert (found == pytest.approx(exact, rel=FLOAT64)) == (coupling == 0)


def test_the_diagonal_is_exact_where_the_curvature_is_diagonal():
    with jax.enable_x64(True):
        h = np.geomspace(1e-3, 2, 7)
        _, rows = positive_definite(7, 7)
        trees = [{"a": jnp.asarray(x[..., :4]), "b": jnp.asarray(x[..., 4:])} for x in (h, rows)]
        found = diagonal_value(*trees, 0.05)
        expected = exact_value(np.diag(h), trees[1], 0.05)
        assert float(found) == pytest.approx(float(expected), rel=FLOAT64)
        assert float(found) == pytest.approx(np.sum(np.mean(rows**2, axis=0) / (h + 0.05)), rel=FLOAT64)


def test_all_scale_with_the_loss():
    h, rows = map(np.float32, positive_definite(8, 6))
    for c in np.float32([1e-3, 1e3]):
        scaled = approximations(c * h, c * rows, float(c) * 0.1)
        np.testing.assert_allclose(scaled, c * approximations(h, rows, 0.1), rtol=1e-4)


@pytest.mark.parametrize("h", [np.zeros((3, 3), np.float32), np.eye(3, dtype=np.float32)])
def test_without_gradients_or_without_curvature_all_are_zero(h):
    np.testing.assert_array_equal(approximations(h, np.zeros((4, 3), np.float32), 0.0), 0)
    np.testing.assert_array_equal(approximations(0 * h, np.ones((4, 3), np.float32), 0.0), 0)


def test_per_sample_gradients_of_a_linear_model_are_residuals_times_inputs():
    rng = np.random.default_rng(9)
    x, y, weights = (rng.standard_normal(shape).astype(np.float32) for shape in ((6, 3), (6,), (3,)))
    found = information.per_sample_gradients(squared_error, jnp.asarray(weights), (x, y))
    np.testing.assert_allclose(found, (x @ weights - y)[:, None] * x, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        information.second_moments(found), np.mean(np.asarray(found) ** 2, axis=0), rtol=1e-6
    )


@pytest.mark.parametrize(
    "criterion",
    [
        information.takeuchi_exact,
        information.takeuchi_blocks,
        lambda h, g, damping: information.takeuchi_diagonal(jnp.diag(h), g, damping),
        lambda h, g, damping: information.takeuchi_trace_ratio(jnp.trace(h), g, damping),
    ],
)
def test_a_negative_damping_is_refused(criterion):
    with pytest.raises(ValueError, match=r"damping must not be negative, got -0\.5"):
        criterion(jnp.eye(2), jnp.ones((3, 2)), -0.5)
