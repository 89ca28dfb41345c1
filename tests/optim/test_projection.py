"""Projections away from the weights: their algebra, and AdamP's rule by rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import muon, norm_control, orthogonal_gradient


@jax.jit
def projected(gradient, weight):
    return orthogonal_gradient().update(gradient, optax.EmptyState(), weight)[0]


def drawn(seed, shape, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_orthogonal_gradients_are_orthogonal_and_as_long():
    with jax.enable_x64(True):
        w, g = drawn(0, (5, 4), float), drawn(1, (5, 4), float)
        found = np.asarray(projected(g, w))
        np.testing.assert_allclose(np.sum(w * found), 0, atol=1e-14)
        np.testing.assert_allclose(np.linalg.norm(found), np.linalg.norm(g), rtol=1e-14)
        np.testing.assert_allclose(projected(found, w), found, rtol=1e-12)
        tangent = g - np.sum(w * g) / np.sum(w * w) * w
        expected = tangent * np.linalg.norm(g) / np.linalg.norm(tangent)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_along_the_weights_is_no_step_of_rounding_noise(dtype):
    """Where the published code takes a full one in three of ten draws."""
    weights = drawn(0, (200, 6, 5)).astype(dtype)
    factors = drawn(1, (200, 1, 1)).astype(dtype)
    found = jax.vmap(projected)(factors * weights, weights)
    np.testing.assert_array_equal(found, np.zeros(found.shape))


def test_weights_of_zero_vectors_and_extreme_scales():
    g = drawn(0, (3, 2))
    np.testing.assert_allclose(projected(g, np.zeros_like(g)), g, rtol=1e-6)
    np.testing.assert_array_equal(projected(g[0], g[1]), g[0])
    w = drawn(1, (3, 2))
    for scale in (np.float32(1e-30), np.float32(1e30)):
        np.testing.assert_allclose(projected(scale * g, scale * w) / scale, projected(g, w), rtol=1e-5)
    np.testing.assert_array_equal(projected(np.zeros_like(g), w), np.zeros((3, 2)))


@functools.partial(jax.jit, static_argnames=("path", "decay", "ratio"))
def controlled(step, gradient, weight, path="dense/kernel", **options):
    """What is made of the update `step` of any optimizer."""
    names = path.split("/")
    tree = lambda leaf: {names[0]: {names[1]: leaf}}  # noqa: E731
    inner = optax.stateless(lambda updates, params: tree(step))
    tx = norm_control(inner, **options)
    updates, _ = tx.update(tree(gradient), tx.init(tree(weight)), tree(weight))
    return updates[names[0]][names[1]]


def tangent(x, w, axis):
    return x - (x * w).sum(axis, keepdims=True) / (w * w).sum(axis, keepdims=True) * w


def test_a_step_is_freed_of_its_part_along_every_channel():
    """Of a kernel with inputs first, that is every column; ‖w⁺‖² = ‖w‖² + ‖step‖²."""
    with jax.enable_x64(True):
        w, step = drawn(0, (6, 4), float), drawn(1, (6, 4), float)
        g = tangent(drawn(2, (6, 4), float), w, 0)
        found = np.asarray(controlled(step, g, w))
        np.testing.assert_allclose(np.sum(found * w, axis=0), np.zeros(4), atol=1e-14)
        np.testing.assert_allclose(found, tangent(step, w, 0), rtol=1e-12)
        np.testing.assert_allclose(
            np.sum((w + found) ** 2, axis=0), np.sum(w**2, 0) + np.sum(found**2, 0), rtol=1e-14
        )


def test_or_else_along_the_whole_leaf():
    with jax.enable_x64(True):
        w, step = drawn(0, (6, 4), float), drawn(1, (6, 4), float)
        g = w * np.array([[1.0, -1.0, 1.0, -1.0]])
        g = tangent(g, w, (0, 1))
        found = controlled(step, g, w, decay=0.01, ratio=0.3)
        np.testing.assert_allclose(found, tangent(step, w, (0, 1)) - 0.003 * w, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "shape", "channel"), [("embed/embedding", (5, 3), 0), ("conv/kernel", (3, 3, 2, 4), (0, 1, 2))]
)
def test_channels_are_the_vectors_behind_one_output(name, shape, channel):
    with jax.enable_x64(True):
        w, step, g = (drawn(seed, shape, float) for seed in range(3))
        found = controlled(step, tangent(g, w, channel), w, name)
        np.testing.assert_allclose(found, tangent(step, w, channel), rtol=1e-11)


def test_radial_gradients_and_vectors_are_stepped_and_decay_as_usual():
    w, step = drawn(0, (6, 4)), drawn(1, (6, 4))
    np.testing.assert_allclose(controlled(step, w, w, decay=0.25), step - 0.25 * w, rtol=1e-6)
    b, g = drawn(0, 4), tangent(drawn(1, 4), drawn(0, 4), 0)
    np.testing.assert_allclose(controlled(g, g, b, "dense/bias", decay=0.25), g - 0.25 * b, rtol=1e-5)


@pytest.mark.parametrize("dimension", [16, 256])
def test_unrelated_gradients_pass_for_orthogonal_in_eight_percent(dimension):
    """P(|cos| < 0.1/√dim), by count of steps that changed."""
    w, g = (drawn([dimension, seed], (4000, dimension, 1)) for seed in range(2))
    found = np.asarray(jax.vmap(controlled)(g + w, g, w))
    share = np.mean(np.any(np.abs(found - g - w) > 1e-3, axis=(1, 2)))
    assert 0.066 - 3 * 0.0043 < share < 0.080 + 3 * 0.0043


def test_it_keeps_momentum_from_inflating_weights_without_a_scale():
    """Momentum 0.9 makes ‖w‖² grow by 19 times the squares of unit steps in turn; here, by theirs alone."""

    tx = norm_control(optax.sgd(1e-2, momentum=0.9))

    @jax.jit
    def growth(weight, noises):
        def step(carry, noise):
            params, state, squares = carry
            gradient = jax.tree.map(lambda w: tangent(noise, w, 0), params)
            updates, state = tx.update(gradient, state, params)
            squares += optax.tree.norm(updates, squared=True)
            return (optax.apply_updates(params, updates), state, squares), None

        params = {"dense": {"kernel": weight}}
        (end, _, squares), _ = jax.lax.scan(step, (params, tx.init(params), 0.0), noises)
        return (optax.tree.norm(end, squared=True) - jnp.sum(weight**2)) / squares

    weight = np.full((300, 1), 10.0, np.float32)
    np.testing.assert_allclose(growth(weight, drawn(0, (2000, 300, 1))), 1, rtol=0.02)


def test_decays_may_follow_a_schedule_and_muon_be_inside():
    params = {"mlp": {"kernel": drawn(0, (4, 4)), "bias": np.ones(4, np.float32)}}
    gradient = jax.tree.map(np.ones_like, params)
    tx, plain = norm_control(muon(0.1), decay=lambda count: 0.5 * (count == 1)), muon(0.1)

    @functools.partial(jax.jit, static_argnums=0)
    def biases(tx, params, gradient):
        """The updates of the bias at two steps."""
        first, state = tx.update(gradient, tx.init(params), params)
        return [updates["mlp"]["bias"] for updates in (first, tx.update(gradient, state, params)[0])]

    expected = np.subtract(biases(plain, params, gradient), [[0.0], [0.5]])
    np.testing.assert_allclose(biases(tx, params, gradient), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 0.0}, "delta must be between 0 and 1, got 0.0"),
        ({"delta": 1.0}, "delta must be between 0 and 1, got 1.0"),
        ({"ratio": -0.1}, r"ratio must be in \[0, inf\), got -0.1"),
        ({"decay": 1.0}, r"decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        norm_control(optax.sgd(0.1), **options)


@pytest.mark.parametrize("tx", [orthogonal_gradient(), norm_control(optax.sgd(0.1))], ids=["⟂", "control"])
def test_params_are_needed(tx):
    with pytest.raises(ValueError, match="needs params"):
        tx.update(jnp.ones((2, 2)), tx.init(jnp.ones((2, 2))))
