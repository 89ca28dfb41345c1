"""IVON against a NumPy loop on its own noise, closed forms, and z-tests on quadratics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import ivon, posterior, sample

SHAPES = {"kernel": (3, 2), "bias": (2,)}


def drawn_steps(tx, gradient, params, steps, seed=0):
    """The states and parameters after each step with the gradient at a sample, in one scan."""

    def step(carry, key):
        params, state = carry
        draw, state = sample(key, state, params)
        updates, state = tx.update(gradient(draw), state, params, grad_fn=gradient)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    keys = jax.random.split(jax.random.key(seed), steps)
    found = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), keys)[1])(params)
    return jax.tree.map(np.asarray, found)


def numpy_steps(params, noises, gradients, rate, n, h0, delta, b1, b2, clip):
    """The parameters after steps of samples' noises and gradients, each a list over samples."""
    m, average, h, trajectory = params, 0.0, h0 + 0 * params, []
    for t, (noise, gradient) in enumerate(zip(noises, gradients, strict=True), start=1):
        average = b1 * average + (1 - b1) * np.mean(gradient, axis=0)
        f = n * np.mean(np.multiply(noise, gradient), axis=0) * (h + delta)
        h = b2 * h + (1 - b2) * f + 0.5 * (1 - b2) ** 2 * (h - f) ** 2 / (h + delta)
        m = m - rate * (h0 + delta) * np.clip((average / (1 - b1**t) + delta * m) / (h + delta), -clip, clip)
        trajectory.append(m)
    return trajectory


@pytest.mark.parametrize("samples", [1, 3])
def test_it_steps_as_the_formulas_say_on_the_noise_that_was_drawn(samples):
    options = {"b1": 0.8, "b2": 0.9, "clip": 0.7}
    tx = ivon(0.3, examples=50, hessian_init=0.4, weight_decay=0.05, samples=samples, **options)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        m = start = jnp.asarray(rng.normal(size=4))
        state, noises, gradients, found = tx.init(m), [], [], []
        update = jax.jit(lambda g, s, m: tx.update(jnp.mean(g, 0), s, m, part_gradients=g))
        for t in range(4):
            draws, state = sample(jax.random.key(t), state, m)
            noises.append(np.asarray(draws).reshape(samples, 4) - np.asarray(m))
            gradients.append(rng.normal(size=(samples, 4)))
            updates, state = update(jnp.asarray(gradients[-1]), state, m)
            m = m + updates
            found.append(m)
        expected = numpy_steps(np.asarray(start), noises, gradients, 0.3, 50, 0.4, 0.05, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("examples", "hessian_init", "deviation"),
    [(1437, 1, 0.0264), (50_000, 1, 0.0045), (50_000, 0.05, 0.0200)],
)
def test_the_posterior_is_as_wide_as_was_set(examples, hessian_init, deviation):
    tx = ivon(0.1, examples=examples, hessian_init=hessian_init)
    params = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    state = optax.chain(optax.clip_by_global_norm(1.0), tx).init(params)
    for name, leaf in posterior(state).items():
        np.testing.assert_allclose(leaf, np.full(SHAPES[name], deviation), atol=6e-5)
    draws = jax.vmap(lambda key: sample(key, state, params)[0])(jax.random.split(jax.random.key(0), 4000))
    for leaf in draws.values():
        np.testing.assert_allclose(jnp.mean(leaf, 0), 1, atol=5 * deviation / np.sqrt(4000))
        np.testing.assert_allclose(jnp.std(leaf, 0) / deviation, 1, atol=5 / np.sqrt(8000))


@pytest.mark.parametrize("b2", [0.0, 0.5, 0.99])
def test_of_the_precision_a_step_leaves_half(b2):
    """h' + δ ≥ ½ (h + δ) for every f, attained at f = h - (h + δ)/(1 - β₂)."""
    delta, n, h = 0.1, 20.0, 0.8
    tx = ivon(0.0, examples=n, hessian_init=h, weight_decay=delta, b2=b2)
    worst = h - (h + delta) / (1 - b2)
    estimates = np.linspace(worst - 30, worst + 30, 101)
    with jax.enable_x64(True):
        m = jnp.zeros(101)
        draw, state = sample(jax.random.key(0), tx.init(m), m)
        _, state = tx.update(estimates / (n * (draw - m) * (h + delta)), state, m)
        precision = np.asarray(state.hessian + delta)
    assert np.all(precision >= 0.5 * (h + delta) - 1e-12)
    assert np.argmin(precision) == 50
    np.testing.assert_allclose(precision[50], 0.5 * (h + delta), rtol=1e-12)


def test_the_estimate_is_the_diagonal_of_a_coupled_hessian():
    """On leaves of one number each, which one key for all would couple: [2.894, 1.896] in place of [2, 1]."""
    n, h0, delta = 100.0, 1.0, 1e-4
    hessian = jnp.array([[2.0, 0.9], [0.9, 1.0]])
    params = {"a": jnp.float32(0.3), "b": jnp.float32(-0.2)}
    state = ivon(0.1, examples=n, hessian_init=h0, weight_decay=delta).init(params)

    def estimate(key):
        draw, _ = sample(key, state, params)
        w, m = (jnp.stack([tree["a"], tree["b"]]) for tree in (draw, params))
        return n * (w - m) * (hessian @ w) * (h0 + delta)

    estimates = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(1), 40_000))
    error = jnp.std(estimates, axis=0) / np.sqrt(40_000)
    z = (jnp.mean(estimates, axis=0) - jnp.array([2.0, 1.0])) / error
    assert np.abs(z).max() < 4


def test_it_settles_where_loss_and_prior_balance():
    """m* = cμ/(c + δ) = 1.428571 and h* = c up to ½ (1 - β₂) Var f/(h + δ), for c = 2, μ = 1.5, δ = .1.

    There f = c z² + √(N (h + δ)) δ m* z of a normal z, so that its variance is 8 + 42.9.
    """
    rate = optax.linear_schedule(0.2, 0.0, 40_000)
    tx = ivon(rate, examples=1000, weight_decay=0.1, b2=0.999)
    params, states = drawn_steps(tx, lambda w: 2 * (w - 1.5), jnp.zeros(64), 40_000)
    np.testing.assert_allclose(np.mean(params[-1]), 1.428571, atol=2e-4)
    np.testing.assert_allclose(np.mean(states.hessian[-20_000:]), 2.0121, atol=0.025)


def test_the_first_step_is_along_the_gradient_and_the_prior():
    tx, m = ivon(0.1, examples=10, weight_decay=0.2), jnp.array([1.0, -2.0])
    gradient = jnp.array([0.5, 0.0])
    _, state = sample(jax.random.key(0), tx.init(m), m)
    updates, _ = tx.update(gradient, state, m)
    np.testing.assert_allclose(updates, -0.1 * (gradient + 0.2 * m), rtol=1e-4)


@pytest.mark.parametrize(("b2", "progress"), [(0.99999, 0.010), (0.9999, 0.095)])
def test_the_hessian_moves_slowly(b2, progress):
    """1 - β₂ⁿ of its way in a thousand steps; Hutchinson's estimate of a diagonal Hessian is exact."""
    curvature = jnp.array([1.5, 0.5])
    tx = ivon(0.0, examples=100, b2=b2, estimator="hutchinson")
    _, states = drawn_steps(tx, lambda w: curvature * w, jnp.ones(2), 1000)
    np.testing.assert_allclose((states.hessian[-1] - 1) / (curvature - 1), progress, atol=5e-4)


def test_hutchinson_averages_over_the_gradients_of_its_samples():
    """Of diagonal Hessians, of which it is exact: h' = f + ½ (h - f)²/h at β₂ = 0."""
    curvatures = jnp.array([[2.0, 1.0], [1.0, 0.5]])
    tx = ivon(0.1, examples=100, b2=0.0, samples=2, weight_decay=0.0, estimator="hutchinson")
    w = jnp.ones(2)
    draws, state = sample(jax.random.key(0), tx.init(w), w)
    assert not np.array_equal(draws[0], draws[1])
    extra = {"part_gradients": draws, "grad_fn": lambda w, part: curvatures[part] * w}
    _, state = tx.update(w, state, w, **extra)
    estimate = np.array([1.5, 0.75])
    np.testing.assert_allclose(state.hessian, estimate + (1 - estimate) ** 2 / 2, rtol=1e-6)


def test_schedules_and_other_transformations_go_with_it():
    tx = optax.chain(ivon(lambda count: 0.1 / (1 + count), examples=100, b1=0.0), optax.scale(2.0))
    m = jnp.float32(1)
    state, steps = tx.init(m), []
    for t in range(2):
        _, state = sample(jax.random.key(t), state, m)
        update, state = tx.update(jnp.float32(1), state, m)
        steps.append(float(update))
    np.testing.assert_allclose(steps, [-0.2, -0.1], rtol=1e-3)
    draw, state = sample(jax.random.key(0), optax.adam(0.1).init(m), m)
    assert draw is m
    with pytest.raises(ValueError, match="there is no ivon in this state"):
        posterior(state)


def test_a_sample_is_needed_for_every_update():
    tx, w = ivon(0.1, examples=100), jnp.ones(2)
    _, state = sample(jax.random.key(0), tx.init(w), w)
    _, state = tx.update(w, state, w)
    for unsampled in (state, tx.init(w)):
        with pytest.raises(ValueError, match="ivon needs its gradient at a new sample"):
            tx.update(w, unsampled, w)
    assert np.isnan(jax.jit(tx.update)(w, state, w)[0]).all()


def test_an_update_says_what_it_lacks():
    w = jnp.ones(2)
    several, hutchinson = ivon(0.1, examples=10, samples=2), ivon(0.1, examples=10, estimator="hutchinson")
    for tx, params, message in (
        (several, w, "part_gradients, those at its 2 samples"),
        (several, None, "ivon needs params"),
        (hutchinson, w, "needs params and grad_fn"),
    ):
        _, state = sample(jax.random.key(0), tx.init(w), w)
        with pytest.raises(ValueError, match=message):
            tx.update(w, state, params)
    with pytest.raises(ValueError, match="needs all parameters"):
        optax.masked(several, {"a": True, "b": False}).init({"a": w, "b": w})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"examples": 0}, "examples must be positive, got 0"),
        ({"hessian_init": 0.0}, "hessian_init must be positive, got 0.0"),
        ({"weight_decay": -0.1}, r"weight_decay must be in \[0, inf\), got -0.1"),
        ({"b2": 1.0}, r"b2 must be in \[0, 1\), got 1.0"),
        ({"b1": 1.0}, r"b1 must be in \[0, 1\), got 1.0"),
        ({"clip": 0.0}, "clip must be positive, got 0.0"),
        ({"samples": 0}, "samples must be at least 1, got 0"),
        ({"estimator": "squared"}, "estimator must be one of"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        ivon(0.1, **({"examples": 100} | options))


def test_the_number_of_examples_must_be_given():
    with pytest.raises(TypeError, match="examples"):
        functools.partial(ivon, 0.1)()
