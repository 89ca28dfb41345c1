"""Matrices on their spheres, against a loop in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geometry import MatrixView, PolarExpress
from optim import Route, Routing, describe, hyperball, routed, scale_by_momentum, scale_by_polar

STACKED = Routing(lambda path, shape: Route("hidden", MatrixView((1,), (2,), (0,))))


def unit(x):
    return x / np.linalg.norm(x)


def test_every_matrix_turns_by_the_rate_and_keeps_its_norm(draw):
    with jax.enable_x64(True):
        params, gradients = draw({"experts": (3, 4, 6)}, 5, dtype=float)
        tx = hyperball(lambda t: 0.1 / (t + 1), routing=STACKED)
        state, weights, update = jax.jit(tx.init)(params), params["experts"], jax.jit(tx.update)
        expected, radii = np.copy(weights), [np.linalg.norm(w) for w in weights]
        for t, gradient in enumerate(gradients):
            updates, state = update(gradient, state, {"experts": weights})
            weights = weights + np.asarray(updates["experts"])
            for place, (w, g, radius) in enumerate(zip(expected, gradient["experts"], radii, strict=True)):
                expected[place] = radius * unit(w - 0.1 / (t + 1) * radius * unit(g))
            np.testing.assert_allclose(weights, expected, rtol=1e-12)


def test_muon_on_spheres_keeps_norms_over_a_thousand_steps():
    tx = optax.chain(scale_by_momentum(0.9), scale_by_polar(PolarExpress(steps=1)), hyperball(0.05))
    tx = routed(tx, optax.sgd(0.05))
    kernel, target, *noises = np.random.default_rng(0).normal(size=(1_002, 8, 12)).astype(np.float32)
    start = {"dense": {"kernel": kernel}}

    def step(carry, noise):
        params, state = carry
        gradient = jax.tree.map(lambda w: w - target + noise, params)
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), jnp.linalg.norm(params["dense"]["kernel"])

    run = jax.jit(lambda start, noises: jax.lax.scan(step, (start, tx.init(start)), noises))
    (last, _), norms = run(start, np.stack(noises))
    np.testing.assert_allclose(norms, np.linalg.norm(kernel), rtol=1e-6)
    assert np.linalg.norm(np.asarray(last["dense"]["kernel"]) - kernel) > 1


def test_zeros_stay_and_no_direction_is_no_step():
    tx, weights = hyperball(0.1), {"a/kernel": np.zeros((2, 3)), "b/kernel": np.eye(2)}
    gradients = {"a/kernel": np.ones((2, 3)), "b/kernel": np.zeros((2, 2))}
    updates = jax.jit(lambda g, w: tx.update(g, tx.init(w), w)[0])(gradients, weights)
    np.testing.assert_array_equal(updates["a/kernel"], np.zeros((2, 3)))
    np.testing.assert_allclose(updates["b/kernel"], np.zeros((2, 2)), atol=2e-7)


def test_its_rate_is_described_and_its_errors_name_what_lacks():
    params = {"dense": {"kernel": jnp.ones((2, 3))}, "head": {"kernel": jnp.ones((3, 2))}}
    tx = routed(hyperball(0.25), optax.identity())
    dense, _ = describe(tx, params).leaves
    assert (dense.learning_rates, dense.decay) == ((0.25,), 0.0)
    with pytest.raises(ValueError, match="hyperball needs params"):
        tx.update(params, tx.init(params))
    with pytest.raises(ValueError, match="learning_rate must be in"):
        hyperball(-1.0)
