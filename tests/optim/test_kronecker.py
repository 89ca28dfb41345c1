"""Natural gradients by Kronecker factors: least squares in a step, invariances, whose Fisher matrix it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optim import KroneckerFactors, natural_gradient


def drawn(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def spread(seed, size):
    """A positive definite matrix."""
    rows = drawn(seed, 3 * size, size)
    return rows.T @ rows / (3 * size)


@pytest.mark.parametrize("bias", [False, True])
def test_a_step_on_linear_regression_is_least_squares(bias):
    with jax.enable_x64(True):
        x, y = drawn(0, 30, 4) * jnp.array([[1.0, 10.0, 0.1, 3.0]]), drawn(1, 30, 2)
        rows = jnp.concatenate([x, jnp.ones((30, 1))], axis=1) if bias else x
        layer = {"kernel": drawn(2, 4, 2)} | ({"bias": drawn(3, 2)} if bias else {})
        loss = lambda p: jnp.sum((x @ p["kernel"] + p.get("bias", jnp.zeros(2))[None] - y) ** 2) / 60  # noqa: E731
        factors = {"linear": KroneckerFactors(rows.T @ rows / 30, jnp.eye(2))}
        step = natural_gradient({"linear": jax.grad(loss)(layer)}, factors, 0.0)["linear"]
        found = jnp.concatenate([(layer[name] - step[name]).reshape(-1, 2) for name in layer])
        expected, *_ = np.linalg.lstsq(rows, y)
        np.testing.assert_allclose(found, expected, atol=3e-13)


def test_it_is_the_inverse_of_the_kronecker_product():
    """(A ⊗ G)⁻¹ vec D = vec(A⁻¹ D G⁻¹), of rows first."""
    with jax.enable_x64(True):
        factors, gradient = KroneckerFactors(spread(0, 4), spread(1, 3)), drawn(2, 4, 3)
        expected = np.linalg.solve(np.kron(factors.inputs, factors.outputs), gradient.reshape(-1))
        np.testing.assert_allclose(factors.precondition(gradient, 0.0).reshape(-1), expected, rtol=1e-11)


def test_much_damping_leaves_the_gradient():
    with jax.enable_x64(True):
        factors, gradient = KroneckerFactors(spread(0, 4), spread(1, 3)), drawn(2, 4, 3)
        np.testing.assert_allclose(1e12 * factors.precondition(gradient, 1e12), gradient, rtol=1e-5)


def test_damping_does_not_depend_on_how_the_scale_is_shared():
    with jax.enable_x64(True):
        factors, gradient = KroneckerFactors(spread(0, 4), spread(1, 3)), drawn(2, 4, 3)
        shared = KroneckerFactors(1000 * factors.inputs, factors.outputs / 1000)
        np.testing.assert_allclose(
            shared.precondition(gradient, 0.3), factors.precondition(gradient, 0.3), rtol=1e-11
        )


def test_undamped_steps_do_not_depend_on_the_inputs_basis():
    """Of a network on Tx with W₁ ↦ T⁻¹W₁: the same function after the step, unlike after the gradient's."""

    def layers(params, x):
        hidden = jnp.tanh(x @ params["first"]["kernel"])
        return hidden, hidden @ params["second"]["kernel"]

    def after(x, params, natural):
        noise = drawn(5, 50, 2)  # labels minus outputs, of a normal distribution around these
        pulled = lambda offset: jnp.tanh(x @ params["first"]["kernel"] + offset) @ params["second"]["kernel"]  # noqa: E731
        _, pullback = jax.vjp(pulled, jnp.zeros((50, 6)))
        hidden, _ = layers(params, x)
        factors = {
            "first": KroneckerFactors.of(x, *pullback(noise)),
            "second": KroneckerFactors.of(hidden, noise),
        }
        gradients = jax.grad(lambda p: jnp.mean((layers(p, x)[1] - drawn(6, 50, 2)) ** 2))(params)
        step = natural_gradient(gradients, factors, 0.0) if natural else gradients
        return layers(jax.tree.map(lambda w, d: w - 0.1 * d, params, step), x)[1]

    with jax.enable_x64(True):
        x, basis = drawn(0, 50, 4), drawn(1, 4, 4) + 3 * jnp.eye(4)
        params = {"first": {"kernel": drawn(2, 4, 6)}, "second": {"kernel": drawn(3, 6, 2)}}
        turned = params | {"first": {"kernel": jnp.linalg.solve(basis, params["first"]["kernel"])}}
        pairs = [(after(x, params, natural), after(x @ basis, turned, natural)) for natural in (True, False)]
        np.testing.assert_allclose(*pairs[0], atol=1e-10)
        assert np.abs(pairs[1][0] - pairs[1][1]).max() > 1e-3


def test_the_empirical_fisher_matrix_steps_too_far_where_residuals_are_small():
    """A hundred times as far at a residual of 0.1 of unit noise."""
    with jax.enable_x64(True):
        x, residual = jnp.ones((10, 1)), jnp.full((10, 1), 0.1)
        gradient = x.T @ residual / 10
        empirical = KroneckerFactors.of(x, residual).precondition(gradient, 0.0)
        true = KroneckerFactors(x.T @ x / 10, jnp.eye(1)).precondition(gradient, 0.0)
        np.testing.assert_allclose(empirical / true, 100)


def test_factors_of_drawn_labels_are_those_of_the_model():
    """Of softmax outputs, E g gᵀ = diag p - p pᵀ."""
    logits = jnp.array([1.0, 0.0, -0.5])
    p = jax.nn.softmax(logits)
    labels = jax.random.categorical(jax.random.key(0), logits, shape=(100_000,))
    gradients = p[None] - jax.nn.one_hot(labels, 3)
    found = KroneckerFactors.of(jnp.ones((100_000, 1)), gradients).outputs
    np.testing.assert_allclose(found, jnp.diag(p) - jnp.outer(p, p), atol=4 * 0.5 / np.sqrt(100_000))


def test_the_running_average_and_singular_factors():
    old, new = KroneckerFactors(jnp.eye(2), jnp.eye(1)), KroneckerFactors(jnp.zeros((2, 2)), 3 * jnp.eye(1))
    mixed = old.blended(new, 0.75)
    np.testing.assert_allclose(mixed.inputs, 0.75 * jnp.eye(2))
    np.testing.assert_allclose(mixed.outputs, 1.5 * jnp.eye(1))
    gradient = jnp.ones((2, 1))
    assert np.isnan(new.precondition(gradient, 0.0)).all()
    np.testing.assert_allclose(
        new.precondition(gradient, 0.5), 1 / (0.5**0.5 * (3 + 0.5**0.5)) * gradient, rtol=1e-6
    )


def test_what_has_no_factors_is_named():
    factors = {"up": KroneckerFactors(jnp.eye(2), jnp.eye(2))}
    kernel, vector = {"kernel": jnp.eye(2)}, jnp.ones(2)
    for tree, path in (({"down": kernel}, "down"), ({"up": kernel, "norm": {"scale": vector}}, "norm/scale")):
        with pytest.raises(ValueError, match=f"{path}: no dense layer with Kronecker factors; there are up"):
            natural_gradient(tree, factors, 0.1)
    with pytest.raises(ValueError, match=r"damping must be in \[0, inf\), got -0.1"):
        natural_gradient({"up": kernel}, factors, -0.1)
