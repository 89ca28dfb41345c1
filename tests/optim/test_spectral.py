"""Muon and spectral descent against optax's Muon, against SVDs in NumPy, and against their own symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from geometry import NewtonSchulz
from optim import Decay, Routing, by_name, muon, scale_by_polar, spectral_descent

MATRICES = {"a": (3, 5), "b": (6, 3), "c": (4, 4)}
ETA, LAMBDA = 0.1, 0.2


def assert_close(actual, expected, tolerance):
    jax.tree.map(lambda a, e: np.testing.assert_allclose(a, e, rtol=0, atol=tolerance), actual, expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"scale": "width"}, {}),
        ({"scale": "rms", "weight_decay": LAMBDA}, {"consistent_rms": 0.2, "weight_decay": LAMBDA}),
    ],
    ids=["width", "rms with decay"],
)
def test_without_nesterov_it_is_optaxs_muon(ours, theirs, run, draw):
    params, gradients = draw({**MATRICES, "bias": (4,)}, 20)
    options = {"nesterov": False, "weight_decay": 0.0}
    ours = muon(ETA, 0.95, polar=NewtonSchulz(), **{**options, **ours})
    theirs = optax.contrib.muon(ETA, beta=0.95, **{**options, **theirs})
    found, expected = run(ours, params, gradients), run(theirs, params, gradients)
    # five steps multiply a rounding by up to 3.44⁵ = 485; times η, the scales, and 20 steps
    assert_close(found, expected, 485 * np.finfo(np.float32).eps * ETA * 20)
    moved = np.abs(found[-1]["a"] - params["a"]).max()
    assert moved > 0.1


def numpy_polar(x):
    u, _, vt = np.linalg.svd(x, full_matrices=False)
    return u @ vt


def numpy_muon(weight, gradients, beta, nesterov, scale, delta):
    """The weight after each step with learning rate ETA."""
    average, trajectory = np.zeros_like(weight), []
    for t, gradient in enumerate(gradients):
        average = beta * average + (1 - beta) * gradient
        direction = (1 - beta) * gradient + beta * average if nesterov else average
        weight = (1 - delta(t)) * weight - ETA * scale * numpy_polar(direction)
        trajectory.append(weight)
    return trajectory


@pytest.mark.parametrize(
    ("nesterov", "scale", "decay", "delta"),
    [
        (False, None, Decay(), ETA * LAMBDA),
        (True, "width", Decay("schedule", peak_learning_rate=2 * ETA), LAMBDA / 2),
        (True, "fan_ratio", Decay("independent"), LAMBDA),
    ],
)
def test_with_the_exact_polar_factor_it_is_numpys_loop(nesterov, scale, decay, delta, run, draw):
    scale_of = {
        None: lambda rows, columns: 1,
        "width": lambda rows, columns: max(1, columns / rows) ** 0.5,
        "fan_ratio": lambda rows, columns: (columns / rows) ** 0.5,
    }[scale]
    with jax.enable_x64(True):
        params, gradients = draw(MATRICES, 5, dtype=np.float64)
        tx = muon(ETA, 0.8, nesterov=nesterov, polar="svd", scale=scale, weight_decay=LAMBDA, decay=decay)
        found = run(tx, params, gradients)
        for name, shape in MATRICES.items():
            expected = numpy_muon(
                params[name], [g[name] for g in gradients], 0.8, nesterov, scale_of(*shape), lambda t: delta
            )
            np.testing.assert_allclose([step[name] for step in found], expected, rtol=1e-10, atol=1e-11)


def test_spectral_descent_is_muon_without_momentum_and_its_polar_factor_times_a_scale(run, draw):
    params, gradients = draw(MATRICES, 3)
    options = {"polar": "svd", "weight_decay": LAMBDA}
    found = run(spectral_descent(ETA, scale="rms", **options), params, gradients)
    plain = muon(ETA, 0.0, scale="rms", **options)  # Nesterov's look ahead sees the gradient alone
    assert_close(found, run(plain, params, gradients), 2e-6)
    for name, (rows, columns) in MATRICES.items():
        scale = 0.2 * max(rows, columns) ** 0.5
        weights = numpy_muon(
            np.float64(params[name]),
            [np.float64(g[name]) for g in gradients],
            0.0,
            False,
            scale,
            lambda t: ETA * LAMBDA,
        )
        np.testing.assert_allclose([step[name] for step in found], weights, rtol=0, atol=2e-5)


def test_separate_heads_move_as_each_head_alone(run, draw):
    params, gradients = draw({"query": {"kernel": (5, 2, 3)}, "out": {"kernel": (2, 3, 5)}}, 3)
    separate = Routing(lambda path, shape: by_name(path, shape, heads="separate"))

    def head(tree, h):
        return {
            "query": {"kernel": tree["query"]["kernel"][:, h]},
            "out": {"kernel": tree["out"]["kernel"][h]},
        }

    options = {"polar": "svd", "scale": "fan_ratio"}
    joined = run(muon(ETA, routing=separate, **options), params, gradients)[-1]
    single = muon(ETA, **options)
    for h in range(2):
        assert_close(head(joined, h), run(single, head(params, h), [head(g, h) for g in gradients])[-1], 1e-5)


def test_a_run_on_a_turned_quadratic_is_the_turned_run():
    with jax.enable_x64(True):
        rng = np.random.default_rng(4)
        target, start, u, v = (rng.normal(size=s) for s in ((4, 6), (4, 6), (4, 4), (6, 6)))
        left, right = np.linalg.qr(u)[0], np.linalg.qr(v)[0]
        tx = spectral_descent(optax.linear_schedule(0.5, 0.1, 10), scale="rms", weight_decay=0.1)

        @jax.jit
        def trajectory(weights, goal):
            def step(carry, _):
                weights, state = carry
                gradient = jax.grad(lambda w: jnp.sum((w["w"] - goal) ** 2) / 2)(weights)
                updates, state = tx.update(gradient, state, weights)
                weights = optax.apply_updates(weights, updates)
                return (weights, state), weights["w"]

            return jax.lax.scan(step, (weights, tx.init(weights)), length=10)[1]

        plain = np.asarray(trajectory({"w": start}, target))
        turned = trajectory({"w": left @ start @ right.T}, left @ target @ right.T)
        np.testing.assert_allclose(turned, left @ plain @ right.T, rtol=0, atol=1e-9)
        assert np.linalg.norm(plain[-1] - target) < np.linalg.norm(start - target)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"momentum": 1.0}, "momentum"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"fallback_weight_decay": -0.1}, "fallback_weight_decay"),
        ({"fallback_learning_rate": -0.1}, "fallback_learning_rate"),
        ({"scale": "height"}, "scale"),
        ({"polar": "qr"}, "the polar method"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        muon(**{"learning_rate": 0.1, **options})


def test_polar_factors_of_a_leaf_without_a_matrix_view_are_refused_with_its_path():
    with pytest.raises(ValueError, match=r"^norm/scale: .* no matrix view"):
        scale_by_polar().init({"norm": {"scale": jnp.ones(3)}})
