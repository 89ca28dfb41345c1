"""Natural gradients by Kronecker factors: least squares in a step, invariances, whose Fisher matrix it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim import KroneckerFactors, natural_gradient


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def spread(seed, size):
    """A positive definite matrix."""
    rows = drawn(seed, 3 * size, size)
    return rows.T @ rows / (3 * size)


@jax.jit
def preconditioned(inputs, outputs, gradient, damping):
    return KroneckerFactors(inputs, outputs).precondition(gradient, damping)


@pytest.mark.parametrize("bias", [False, True])
def test_a_step_on_linear_regression_is_least_squares(bias):
    with jax.enable_x64(True):
        x, y = drawn(0, 30, 4) * [1.0, 10.0, 0.1, 3.0], drawn(1, 30, 2)
        rows = np.concatenate([x, np.ones((30, 1))], axis=1) if bias else x
        layer = {"kernel": drawn(2, 4, 2)} | ({"bias": drawn(3, 2)} if bias else {})
        residuals = x @ layer["kernel"] + layer.get("bias", 0) - y
        joint = rows.T @ residuals / 30
        gradient = {"kernel": joint[:4]} | ({"bias": joint[4]} if bias else {})

        @jax.jit
        def natural(gradient, inputs):
            factors = {"linear": KroneckerFactors(inputs, jnp.eye(2))}
            return natural_gradient({"linear": gradient}, factors, 0.0)["linear"]

        step = natural(gradient, rows.T @ rows / 30)
        found = np.concatenate([(layer[name] - step[name]).reshape(-1, 2) for name in layer])
        expected, *_ = np.linalg.lstsq(rows, y)
        np.testing.assert_allclose(found, expected, atol=3e-13)


def test_it_is_the_inverse_of_the_kronecker_product():
    """(A ⊗ G)⁻¹ vec D = vec(A⁻¹ D G⁻¹), of rows first."""
    with jax.enable_x64(True):
        inputs, outputs, gradient = spread(0, 4), spread(1, 3), drawn(2, 4, 3)
        expected = np.linalg.solve(np.kron(inputs, outputs), gradient.reshape(-1)).reshape(4, 3)
        np.testing.assert_allclose(preconditioned(inputs, outputs, gradient, 0.0), expected, rtol=1e-11)


def test_much_damping_leaves_the_gradient():
    with jax.enable_x64(True):
        gradient = drawn(2, 4, 3)
        found = preconditioned(spread(0, 4), spread(1, 3), gradient, 1e12)
        np.testing.assert_allclose(1e12 * found, gradient, rtol=1e-5)


def test_damping_does_not_depend_on_how_the_scale_is_shared():
    with jax.enable_x64(True):
        inputs, outputs, gradient = spread(0, 4), spread(1, 3), drawn(2, 4, 3)
        shared = preconditioned(1000 * inputs, outputs / 1000, gradient, 0.3)
        np.testing.assert_allclose(shared, preconditioned(inputs, outputs, gradient, 0.3), rtol=1e-11)


def test_undamped_steps_do_not_depend_on_the_inputs_basis():
    """Of a network on Tx with W₁ ↦ T⁻¹W₁: the same function after the step, unlike after the gradient's."""

    def layers(params, x):
        hidden = jnp.tanh(x @ params["first"]["kernel"])
        return hidden, hidden @ params["second"]["kernel"]

    @jax.jit
    def after(x, params):
        """By the natural gradient and by the gradient."""
        noise = jnp.asarray(drawn(5, 50, 2))  # labels minus outputs, of a normal distribution around these
        pulled = lambda offset: jnp.tanh(x @ params["first"]["kernel"] + offset) @ params["second"]["kernel"]  # noqa: E731
        _, pullback = jax.vjp(pulled, jnp.zeros((50, 6)))
        hidden, _ = layers(params, x)
        factors = {
            "first": KroneckerFactors.of(x, *pullback(noise)),
            "second": KroneckerFactors.of(hidden, noise),
        }
        gradients = jax.grad(lambda p: jnp.mean((layers(p, x)[1] - drawn(6, 50, 2)) ** 2))(params)
        steps = natural_gradient(gradients, factors, 0.0), gradients
        return [layers(jax.tree.map(lambda w, d: w - 0.1 * d, params, step), x)[1] for step in steps]

    with jax.enable_x64(True):
        x, basis = drawn(0, 50, 4), drawn(1, 4, 4) + 3 * np.eye(4)
        params = {"first": {"kernel": drawn(2, 4, 6)}, "second": {"kernel": drawn(3, 6, 2)}}
        turned = params | {"first": {"kernel": np.linalg.solve(basis, params["first"]["kernel"])}}
        natural, plain = zip(after(x, params), after(x @ basis, turned), strict=True)
        np.testing.assert_allclose(*natural, atol=1e-10)
        assert np.abs(np.subtract(*plain)).max() > 1e-3


def test_the_empirical_fisher_matrix_steps_too_far_where_residuals_are_small():
    """A hundred times as far at a residual of 0.1 of unit noise."""
    with jax.enable_x64(True):
        x, residual = np.ones((10, 1)), np.full((10, 1), 0.1)
        gradient = x.T @ residual / 10
        factors = jax.jit(KroneckerFactors.of)(x, residual)
        empirical = preconditioned(factors.inputs, factors.outputs, gradient, 0.0)
        true = preconditioned(x.T @ x / 10, np.eye(1), gradient, 0.0)
        np.testing.assert_allclose(empirical / true, 100)


def test_factors_of_drawn_labels_are_those_of_the_model():
    """Of softmax outputs, E g gᵀ = diag p - p pᵀ."""
    p = np.exp([1.0, 0.0, -0.5]) / np.sum(np.exp([1.0, 0.0, -0.5]))
    labels = np.random.default_rng(0).multinomial(1, p, 100_000)
    found = jax.jit(KroneckerFactors.of)(np.ones((100_000, 1), np.float32), np.float32(p - labels)).outputs
    np.testing.assert_allclose(found, np.diag(p) - np.outer(p, p), atol=4 * 0.5 / np.sqrt(100_000))


def test_the_running_average_and_singular_factors():
    def mixed():
        old = KroneckerFactors(jnp.eye(2), jnp.eye(1))
        return old.blended(KroneckerFactors(jnp.zeros((2, 2)), 3 * jnp.eye(1)), 0.75)

    found = jax.jit(mixed)()
    np.testing.assert_allclose(found.inputs, 0.75 * np.eye(2))
    np.testing.assert_allclose(found.outputs, 1.5 * np.eye(1))
    singular, gradient = (np.zeros((2, 2), np.float32), np.float32([[3]])), np.ones((2, 1), np.float32)
    assert np.isnan(preconditioned(*singular, gradient, 0.0)).all()
    expected = 1 / (0.5**0.5 * (3 + 0.5**0.5)) * gradient
    np.testing.assert_allclose(preconditioned(*singular, gradient, 0.5), expected, rtol=1e-6)


def test_what_has_no_factors_is_named():
    factors = {"up": KroneckerFactors(jnp.eye(2), jnp.eye(2))}
    kernel, vector = {"kernel": jnp.eye(2)}, jnp.ones(2)
    for tree, path in (({"down": kernel}, "down"), ({"up": kernel, "norm": {"scale": vector}}, "norm/scale")):
        with pytest.raises(ValueError, match=f"{path}: no dense layer with Kronecker factors; there are up"):
            natural_gradient(tree, factors, 0.1)
    with pytest.raises(ValueError, match=r"damping must be in \[0, inf\), got -0.1"):
        natural_gradient({"up": kernel}, factors, -0.1)
