"""Schedule-free steps against loops in NumPy and their closed forms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optim


def trained(tx, gradient, params, steps, rates=None):
    """The parameters and the state after steps in one scan."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), None, steps)[0])(params)


def test_steps_are_those_of_a_loop_in_numpy():
    curvatures, beta, power = np.array([1.0, 0.3, 2.0]), 0.8, 2.0
    rates = np.concatenate([np.linspace(0, 0.4, 5), np.full(6, 0.2), np.linspace(0.2, 0.5, 9)])
    z = x = y = np.array([1.0, -2.0, 0.5])
    total = largest = 0.0
    for rate in rates:
        z = z - rate * curvatures * y
        largest = max(largest, rate)
        total += largest**power
        x = x + (largest**power / total if total else 0.0) * (z - x)
        y = (1 - beta) * z + beta * x
    table = jnp.asarray(rates, jnp.float32)
    tx = optim.schedule_free(optax.sgd, lambda count: table[count], beta=beta, weight_power=power)
    start = jnp.array([1.0, -2.0, 0.5])
    params, state = trained(tx, lambda y: jnp.float32(curvatures) * y, start, len(rates))
    np.testing.assert_allclose(params, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.fast, z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.evaluation_params(params), x, rtol=1e-5, atol=1e-6)
    assert float(state.weight) == pytest.approx(total, rel=1e-5)


def test_in_bfloat16_the_average_of_a_thousand_steps_is_right():
    # gradient -1 at rate 1: z_t = t, and x their mean; a sum in bfloat16 stops at 256
    start = jnp.zeros(3, jnp.bfloat16)
    tx = optim.schedule_free(optax.sgd, 1.0)
    params, state = trained(tx, lambda y: -jnp.ones_like(y), start, 1000)
    np.testing.assert_allclose(state.average, 500.5, rtol=1e-5)
    assert params.dtype == jnp.bfloat16
    expected = 0.1 * 1000 + 0.9 * 500.5
    np.testing.assert_allclose(np.float32(params), expected, rtol=float(jnp.finfo(jnp.bfloat16).eps))
    np.testing.assert_allclose(np.float32(state.evaluation_params(params)), 500.5, rtol=0.004)


def test_after_one_step_the_average_is_where_it_went_and_without_a_rate_nothing_moves():
    start = jnp.array([1.0, -1.0])
    resting, state = trained(optim.schedule_free(optax.sgd, 0.0), lambda y: y, start, 3)
    np.testing.assert_array_equal(resting, start)
    np.testing.assert_array_equal(state.average, start)
    _, state = trained(optim.schedule_free(optax.sgd, 0.25), lambda y: y, start, 1)
    np.testing.assert_allclose(state.average, [0.75, -0.75], rtol=1e-6)
    np.testing.assert_array_equal(state.average, state.fast)


def test_without_beta_it_is_the_mean_of_plain_steps():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(30, 4)).astype(np.float32)
    tx = optim.schedule_free(optax.sgd, 0.3, beta=0.0)
    plain = start = np.ones(4, np.float32)
    iterates = []
    for draw in noise:
        plain = plain - 0.3 * (plain + draw)
        iterates.append(plain)

    def step(carry, draw):
        averaged, state = carry
        updates, state = tx.update(averaged + draw, state, averaged)
        return (optax.apply_updates(averaged, updates), state), None

    run = jax.jit(lambda start, noise: jax.lax.scan(step, (start, tx.init(start)), noise)[0])
    averaged, state = run(start, noise)
    np.testing.assert_allclose(averaged, plain, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.average, np.mean(iterates, axis=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rate", "stable"), [(15.0, True), (25.0, False)])
def test_it_is_stable_up_to_twenty_over_the_curvature(rate, stable):
    _, state = trained(optim.schedule_free(optax.sgd, rate), lambda y: y, jnp.ones(1), 400)
    reached = abs(float(state.fast[0]))
    assert (reached < 1) == stable  # beyond, it is soon infinite or NaN


def test_adam_inside_is_adam_without_momentum_at_the_mixture():
    target = jnp.array([2.0, -1.0, 0.5])
    inner = functools.partial(optax.adamw, b1=0.0, weight_decay=0.1)
    params, state = trained(optim.schedule_free(inner, 0.05), lambda y: y - target, jnp.zeros(3), 12)
    z = x = y = np.zeros(3)
    second = np.zeros(3)
    for count in range(1, 13):
        gradient = y - np.array(target)
        second = 0.999 * second + 0.001 * gradient**2
        z = z - 0.05 * (gradient / (np.sqrt(second / (1 - 0.999**count)) + 1e-8) + 0.1 * y)
        x = x + (z - x) / count
        y = 0.1 * z + 0.9 * x
    np.testing.assert_allclose(params, y, rtol=1e-4)
    np.testing.assert_allclose(state.average, x, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": 1.0}, "beta must be in"),
        ({"beta": -0.1}, "beta must be in"),
        ({"weight_power": -1.0}, "weight_power must be in"),
    ],
)
def test_options_outside_their_ranges_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        optim.schedule_free(optax.sgd, 0.1, **options)


def test_params_are_needed():
    tx = optim.schedule_free(optax.sgd, 0.1)
    with pytest.raises(ValueError, match="params are needed"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
