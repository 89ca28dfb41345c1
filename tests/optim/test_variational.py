"""IVON against a NumPy loop on its own noise, closed forms, and z-tests on quadratics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import ivon, posterior, sample

SHAPES = {"kernel": (3, 2), "bias": (2,)}
PAIR = np.ones(2, np.float32)
compiled_sample = jax.jit(sample)


def drawn_steps(tx, gradient, params, steps, seed=0):
    """The states and parameters after each step with the gradient at a sample, in one scan."""

    def step(carry, key):
        params, state = carry
        draw, state = sample(key, state, params)
        updates, state = tx.update(gradient(draw), state, params, grad_fn=gradient)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    keys = jax.random.split(jax.random.key(seed), steps)
    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), keys)[1])(params)


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
    start, gradients = rng.normal(size=4), rng.normal(size=(4, samples, 4))

    @jax.jit
    def run(start, gradients):
        def step(carry, drawn):
            (m, state), (key, gradient) = carry, drawn
            draws, state = sample(key, state, m)
            updates, state = tx.update(jnp.mean(gradient, 0), state, m, part_gradients=gradient)
            return (m + updates, state), (draws.reshape(samples, 4) - m[None], m + updates)

        keys = jax.random.split(jax.random.key(0), 4)
        return jax.lax.scan(step, (start, tx.init(start)), (keys, gradients))[1]

    with jax.enable_x64(True):
        noises, found = run(start, gradients)
    expected = numpy_steps(start, np.asarray(noises), gradients, 0.3, 50, 0.4, 0.05, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@jax.jit
def widths_and_draws(examples, hessian_init):
    """The posterior's deviations as they were set, and 4000 draws around ones."""
    tx = ivon(0.1, examples=examples, hessian_init=hessian_init)
    params = {name: jnp.ones(shape) for name, shape in SHAPES.items()}
    state = optax.chain(optax.clip_by_global_norm(1.0), tx).init(params)
    keys = jax.random.split(jax.random.key(0), 4000)
    return posterior(state), jax.vmap(lambda key: sample(key, state, params)[0])(keys)


@pytest.mark.parametrize(
    ("examples", "hessian_init", "deviation"),
    [(1437, 1, 0.0264), (50_000, 1, 0.0045), (50_000, 0.05, 0.0200)],
)
def test_the_posterior_is_as_wide_as_was_set(examples, hessian_init, deviation):
    widths, draws = widths_and_draws(float(examples), float(hessian_init))
    for name, leaf in widths.items():
        np.testing.assert_allclose(leaf, np.full(SHAPES[name], deviation), atol=6e-5)
    for leaf in map(np.asarray, draws.values()):
        np.testing.assert_allclose(np.mean(leaf, 0), 1, atol=5 * deviation / np.sqrt(4000))
        np.testing.assert_allclose(np.std(leaf, 0) / deviation, 1, atol=5 / np.sqrt(8000))


def test_of_the_precision_a_step_leaves_half():
    """h' + δ ≥ ½ (h + δ) for every f, attained at f = h - (h + δ)/(1 - β₂)."""
    delta, n, h = 0.1, 20.0, 0.8

    @jax.jit
    def precision_after(estimates, b2):
        tx = ivon(0.0, examples=n, hessian_init=h, weight_decay=delta, b2=b2)
        m = jnp.zeros(101)
        draw, state = sample(jax.random.key(0), tx.init(m), m)
        return tx.update(estimates / (n * (draw - m) * (h + delta)), state, m)[1].hessian + delta

    for b2 in (0.0, 0.5, 0.99):
        worst = h - (h + delta) / (1 - b2)
        with jax.enable_x64(True):
            precision = np.asarray(precision_after(np.linspace(worst - 30, worst + 30, 101), b2))
        assert np.all(precision >= 0.5 * (h + delta) - 1e-12)
        assert np.argmin(precision) == 50
        np.testing.assert_allclose(precision[50], 0.5 * (h + delta), rtol=1e-12)


def test_the_estimate_is_the_diagonal_of_a_coupled_hessian():
    """On leaves of one number each, which one key for all would couple: [2.894, 1.896] in place of [2, 1]."""
    n, h0, delta = 100.0, 1.0, 1e-4
    hessian = np.array([[2.0, 0.9], [0.9, 1.0]])
    params = {"a": np.float32(0.3), "b": np.float32(-0.2)}

    @jax.jit
    def drawn(params):
        state = ivon(0.1, examples=n, hessian_init=h0, weight_decay=delta).init(params)
        keys = jax.random.split(jax.random.key(1), 40_000)
        return jax.vmap(lambda key: sample(key, state, params)[0])(keys)

    w, m = (np.stack([tree["a"], tree["b"]], axis=-1).astype(float) for tree in (drawn(params), params))
    estimates = n * (w - m) * (w @ hessian) * (h0 + delta)
    error = np.std(estimates, axis=0) / np.sqrt(40_000)
    z = (np.mean(estimates, axis=0) - [2.0, 1.0]) / error
    assert np.abs(z).max() < 4


def test_it_settles_where_loss_and_prior_balance():
    """m* = cμ/(c + δ) = 1.428571 and h* = c up to ½ (1 - β₂) Var f/(h + δ), for c = 2, μ = 1.5, δ = .1.

    There f = c z² + √(N (h + δ)) δ m* z of a normal z, so that its variance is 8 + 42.9.
    """
    rate = optax.linear_schedule(0.2, 0.0, 10_000)
    tx = ivon(rate, examples=1000, weight_decay=0.1, b2=0.999)
    params, states = drawn_steps(tx, lambda w: 2 * (w - 1.5), np.zeros(256, np.float32), 10_000)
    np.testing.assert_allclose(np.mean(np.asarray(params)[-1]), 1.428571, atol=2e-4)
    np.testing.assert_allclose(np.mean(np.asarray(states.hessian)[-5_000:]), 2.0121, atol=0.025)


def test_the_first_step_is_along_the_gradient_and_the_prior():
    tx, m, gradient = ivon(0.1, examples=10, weight_decay=0.2), np.float32([1, -2]), np.float32([0.5, 0])

    @jax.jit
    def first_step(gradient, m):
        return tx.update(gradient, sample(jax.random.key(0), tx.init(m), m)[1], m)[0]

    np.testing.assert_allclose(first_step(gradient, m), -0.1 * (gradient + 0.2 * m), rtol=1e-4)


def test_the_hessian_moves_slowly():
    """1 - β₂ⁿ of its way in a thousand steps; Hutchinson's estimate of a diagonal Hessian is exact."""
    curvature = np.float32([1.5, 0.5])

    def last(b2):
        tx = ivon(0.0, examples=100, b2=b2, estimator="hutchinson")
        return drawn_steps(tx, lambda w: curvature * w, PAIR, 1000)[1].hessian[-1]

    found = jax.jit(jax.vmap(last))(np.float32([0.99999, 0.9999]))
    np.testing.assert_allclose(np.subtract(found, 1) / (curvature - 1), [[0.010] * 2, [0.095] * 2], atol=5e-4)


def test_hutchinson_averages_over_the_gradients_of_its_samples():
    """Of diagonal Hessians, of which it is exact: h' = f + ½ (h - f)²/h at β₂ = 0."""
    curvatures = jnp.array([[2.0, 1.0], [1.0, 0.5]])
    tx = ivon(0.1, examples=100, b2=0.0, samples=2, weight_decay=0.0, estimator="hutchinson")
    draws, state = compiled_sample(jax.random.key(0), jax.jit(tx.init)(PAIR), PAIR)
    assert not np.array_equal(draws[0], draws[1])
    update = jax.jit(functools.partial(tx.update, grad_fn=lambda w, part: curvatures[part] * w))
    _, state = update(PAIR, state, PAIR, part_gradients=draws)
    estimate = np.array([1.5, 0.75])
    np.testing.assert_allclose(state.hessian, estimate + (1 - estimate) ** 2 / 2, rtol=1e-6)


def test_schedules_and_other_transformations_go_with_it():
    tx = optax.chain(ivon(lambda count: 0.1 / (1 + count), examples=100, b1=0.0), optax.scale(2.0))
    m = np.float32(1)
    params, _ = drawn_steps(tx, jnp.ones_like, m, 2)
    np.testing.assert_allclose(np.diff(params, prepend=m), [-0.2, -0.1], rtol=1e-3)
    draw, state = sample(jax.random.key(0), optax.adam(0.1).init(m), m)
    assert draw is m
    with pytest.raises(ValueError, match="there is no ivon in this state"):
        posterior(state)


def test_a_sample_is_needed_for_every_update():
    tx, w = ivon(0.1, examples=100), PAIR
    fresh, update = jax.jit(tx.init)(w), jax.jit(tx.update)
    _, state = compiled_sample(jax.random.key(0), fresh, w)
    _, state = update(w, state, w)
    for unsampled in (state, fresh):
        with pytest.raises(ValueError, match="ivon needs its gradient at a new sample"):
            tx.update(w, unsampled, w)
    assert np.isnan(update(w, state, w)[0]).all()


def test_an_update_says_what_it_lacks():
    w = PAIR
    several, hutchinson = ivon(0.1, examples=10, samples=2), ivon(0.1, examples=10, estimator="hutchinson")
    for tx, params, message in (
        (several, w, "part_gradients, those at its 2 samples"),
        (several, None, "ivon needs params"),
        (hutchinson, w, "needs params and grad_fn"),
    ):
        _, state = compiled_sample(jax.random.key(0), jax.jit(tx.init)(w), w)
        with pytest.raises(ValueError, match=message):
            jax.eval_shape(tx.update, w, state, params)
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
