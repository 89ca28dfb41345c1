"""Products with curvature matrices, and what is measured through them, against dense matrices in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from geometry import curvature, information

FLOAT64 = 1e-12  # relative to matrices with entries of order one
SIGMAS = 4.5  # a fair z-test is beyond it once in 150,000

rng = np.random.default_rng(0)
IMAGES, LABELS = rng.standard_normal((12, 5)), rng.integers(0, 4, 12)


def network(params, x):
    return jnp.tanh(x @ params["inner"] + params["bias"][None]) @ params["head"]


def cross_entropy(logits):
    picked = jnp.take_along_axis(logits, LABELS[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)


def network_params():
    shapes = {
        "inner": (5, 9),
        "bias": (9,),
        "head": (9, 4),
    }  # 90 parameters: one full batch of products, and a rest
    values = np.random.default_rng(1)
    return {name: values.standard_normal(shape) for name, shape in shapes.items()}


def loss(params):
    return cross_entropy(network(params, IMAGES))


def flat(function, params):
    vector, unravel = ravel_pytree(params)
    return lambda v: function(unravel(v)), vector


def raveled(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def explicit_gauss_newton(outputs, params):
    function, vector = flat(lambda p: outputs(p).ravel(), params)

    @jax.jit
    def factors(vector):
        of_outputs = jax.hessian(lambda z: cross_entropy(z.reshape(12, 4)))(function(vector))
        return jax.jacrev(function)(vector), of_outputs

    jacobian, of_outputs = map(np.asarray, factors(vector))
    return jacobian.T @ of_outputs @ jacobian


@jax.jit
def dense_hessian(params):
    return curvature.curvature_matrix(curvature.hessian_product(loss, params), params)


def of_eigenvalues(values):
    q, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((len(values), len(values))))
    return q * np.asarray(values) @ q.T


def test_hessian_products_are_those_of_the_dense_hessian():
    with jax.enable_x64(True):
        params = network_params()
        hessian = np.asarray(jax.jit(jax.hessian(flat(loss, params)[0]))(raveled(params)))
        direction = jax.tree.map(lambda leaf: np.cos(np.arange(leaf.size)).reshape(leaf.shape), params)
        expected = hessian @ raveled(direction)
        product = jax.jit(lambda p, v: curvature.hessian_product(loss, p)(v))(params, direction)
        np.testing.assert_allclose(raveled(product), expected, atol=FLOAT64)
        np.testing.assert_allclose(dense_hessian(params), hessian, atol=FLOAT64)


def test_blocks_are_the_diagonal_blocks_of_the_dense_hessian():
    with jax.enable_x64(True):
        params = network_params()
        hessian = np.asarray(dense_hessian(params))
        blocks = jax.jit(lambda p: curvature.curvature_blocks(curvature.hessian_product(loss, p), p))(params)
        start = 0
        for name, block in sorted(blocks.items()):  # the order of raveling
            end = start + params[name].size
            np.testing.assert_allclose(block, hessian[start:end, start:end], atol=FLOAT64)
            start = end
        assert start == len(hessian)


def test_gauss_newton_is_the_jacobians_around_the_hessian_of_the_loss():
    with jax.enable_x64(True):
        params = network_params()
        outputs = functools.partial(network, x=IMAGES)

        @jax.jit
        def gauss_newton(params):
            product = curvature.gauss_newton_product(outputs, cross_entropy, params)
            return curvature.curvature_matrix(product, params)

        explicit = explicit_gauss_newton(outputs, params)
        np.testing.assert_allclose(gauss_newton(params), explicit, atol=FLOAT64)
        hessian = np.asarray(dense_hessian(params))
        assert np.linalg.eigvalsh(explicit)[0] > -FLOAT64
        assert np.linalg.eigvalsh(hessian)[0] < -1e-3  # so the two differ here


def test_gauss_newton_is_the_hessian_where_the_model_is_linear():
    with jax.enable_x64(True):
        params = np.random.default_rng(3).standard_normal((5, 4))

        @jax.jit
        def both(params):
            gauss_newton = curvature.gauss_newton_product(lambda w: IMAGES @ w, cross_entropy, params)
            hessian = curvature.hessian_product(lambda w: cross_entropy(IMAGES @ w), params)
            return [curvature.curvature_matrix(product, params) for product in (gauss_newton, hessian)]

        np.testing.assert_allclose(*both(params), atol=FLOAT64)


def test_fisher_is_the_second_moment_of_the_gradients():
    with jax.enable_x64(True):
        rows = np.random.default_rng(4).standard_normal((7, 11))
        tree = {"a": rows[:, :6].reshape(7, 2, 3), "b": rows[:, 6:]}

        @jax.jit
        def fisher(tree):
            like = jax.tree.map(lambda leaf: leaf[0], tree)
            return curvature.curvature_matrix(curvature.fisher_product(tree), like)

        np.testing.assert_allclose(fisher(tree), rows.T @ rows / 7, atol=FLOAT64)


def test_fisher_with_labels_drawn_from_the_model_is_gauss_newton_on_average():
    with jax.enable_x64(True):
        params = network_params()
        outputs = functools.partial(network, x=IMAGES)
        probes = np.random.default_rng(5).standard_normal((20, len(raveled(params))))

        def sample_loss(p, sample):
            x, label = sample
            return -jax.nn.log_softmax(network(p, x[None])[0])[label]

        def quadratic_forms(key):
            labels = jax.random.categorical(key, outputs(params))
            gradients = information.per_sample_gradients(sample_loss, params, (jnp.asarray(IMAGES), labels))
            fisher = curvature.curvature_matrix(curvature.fisher_product(gradients), params)
            return jnp.sum((probes @ fisher) * probes, axis=1)

        keys = jax.random.split(jax.random.key(0), 400)
        drawn = np.asarray(jax.jit(lambda keys: jax.lax.map(quadratic_forms, keys))(keys))
        expected = np.sum((probes @ explicit_gauss_newton(outputs, params)) * probes, axis=1)
        z = (drawn.mean(axis=0) - expected) / (drawn.std(axis=0, ddof=1) / np.sqrt(400))
        assert np.abs(z).max() < SIGMAS


@jax.jit
def directional_curvature(matrix, tree):
    unravel = ravel_pytree(tree)[1]
    return curvature.directional_curvature(lambda v: unravel(matrix @ ravel_pytree(v)[0]), tree)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_directional_curvature_is_the_rayleigh_quotient_at_any_length(scale):
    matrix = of_eigenvalues([-2.0, 0.5, 1.0, 4.0]).astype(np.float32)
    d = np.array([1.0, -2.0, 0.5, 3.0])
    tree = {"a": np.float32(scale * d[:3]), "b": np.float32(scale * d[3:])}
    assert float(directional_curvature(matrix, tree)) == pytest.approx(d @ matrix @ d / (d @ d), rel=1e-5)


def test_no_direction_has_no_curvature():
    tree = {"a": np.zeros(3, np.float32), "b": np.zeros(1, np.float32)}
    assert directional_curvature(np.eye(4, dtype=np.float32), tree) == 0


@jax.jit
def top_eigenvalue(matrix, key):
    like = {"a": jnp.zeros(len(matrix) // 2), "b": jnp.zeros(len(matrix) - len(matrix) // 2)}
    unravel = ravel_pytree(like)[1]
    return curvature.top_eigenvalue(lambda v: unravel(matrix @ ravel_pytree(v)[0]), like, key)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        [-10, *np.linspace(-1, 3, 59)],
        np.linspace(-3, -1, 60),
        np.ones(60),
        np.zeros(60),
        [*np.zeros(57), 1, 2, 5],
        [*np.geomspace(1e-6, 1, 40), 1.001],
        1e-12 * np.linspace(1, 3, 60),
        [-9, 1, 2, 3],
        [-1],
    ],
    ids=[
        "negative is largest",
        "all negative",
        "identity",
        "zero",
        "low rank",
        "close",
        "tiny",
        "four",
        "one",
    ],
)
def test_top_eigenvalue_is_numpys_largest(eigenvalues):
    matrix = of_eigenvalues(eigenvalues).astype(np.float32)
    expected = np.linalg.eigvalsh(matrix.astype(np.float64))
    for seed in range(2):
        error = abs(float(top_eigenvalue(matrix, jax.random.key(seed))) - expected[-1])
        assert error <= 2e-5 * np.abs(expected).max()


def test_hutchinson_is_unbiased_and_knows_its_own_error():
    matrix = of_eigenvalues(np.linspace(-1, 3, 30)).astype(np.float32)
    probes, repeats = 10, 4000

    @jax.jit
    def estimates(keys):
        return jax.vmap(
            lambda key: curvature.hutchinson_trace(lambda v: matrix @ v, jnp.zeros(30), key, probes)
        )(keys)

    means, errors = (
        np.asarray(x, np.float64) for x in estimates(jax.random.split(jax.random.key(0), repeats))
    )
    off_diagonal = matrix - np.diag(np.diag(matrix))
    variance = 2 * np.sum(off_diagonal.astype(np.float64) ** 2) / probes  # of a mean over Rademacher probes
    z = (means.mean() - np.trace(matrix)) / np.sqrt(variance / repeats)
    assert abs(z) < SIGMAS
    squares = errors**2
    assert abs(squares.mean() - variance) < SIGMAS * squares.std() / np.sqrt(repeats)


def test_the_probed_diagonal_is_unbiased_in_every_coordinate():
    matrix = of_eigenvalues(np.linspace(-1, 3, 12)).astype(np.float32)
    like = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(6)}
    unravel = ravel_pytree(like)[1]
    estimate = jax.jit(
        lambda key: curvature.hutchinson_diagonal(
            lambda v: unravel(matrix @ ravel_pytree(v)[0]), like, key, probes=3000
        )
    )(jax.random.key(0))
    assert jax.tree.map(jnp.shape, estimate.mean) == {"a": (2, 3), "b": (6,)}
    mean, error = map(raveled, estimate)
    variance = np.sum(matrix**2, axis=1) - np.diag(matrix) ** 2
    np.testing.assert_allclose(error, np.sqrt(variance / 3000), rtol=0.1)
    assert np.abs((mean - np.diag(matrix)) / error).max() < SIGMAS


@pytest.mark.parametrize("measure", [curvature.hutchinson_trace, curvature.hutchinson_diagonal])
def test_two_probes_are_exact_for_a_diagonal_matrix_and_one_is_refused(measure):
    h = np.array([3.0, -1.0, 0.0], np.float32)
    estimate = jax.jit(lambda key: measure(lambda v: h * v, h, key, 2))(jax.random.key(0))
    np.testing.assert_allclose(np.sum(estimate.mean), 2.0, rtol=1e-6)
    np.testing.assert_array_equal(estimate.standard_error, 0)
    with pytest.raises(ValueError, match="probes must be at least 2, got 1"):
        measure(lambda v: h * v, h, jax.random.key(0), 1)
