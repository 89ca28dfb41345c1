"""Conjugate gradients and extragradient: exact line searches, the published toy game, and a bilinear one."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import CONJUGATE_RULES, conjugate_gradient, extragradient

UNCAPPED, ABOVE = (-math.inf, math.inf), (-math.inf, 0.5)


def stepping(rule, cap, rate):
    direction = optax.identity() if rule is None else conjugate_gradient(rule, cap)
    return optax.chain(direction, optax.scale_by_learning_rate(rate))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 4))
def played(game, rule, cap, start, steps, rate, alternating):
    """Where two players end, y after x where they alternate, each minimising by its gradient in `game`."""
    tx = stepping(rule, cap, rate)

    def move(_, carry):
        (x, y), (x_state, y_state) = carry
        x_update, x_state = tx.update(game(x, y)[0], x_state)
        seen = jnp.where(alternating, x + x_update, x)
        y_update, y_state = tx.update(game(seen, y)[1], y_state)
        return (x + x_update, y + y_update), (x_state, y_state)

    return jax.lax.fori_loop(0, steps, move, (start, tuple(map(tx.init, start))))[0]


def in_float64(game, rule, cap, start, steps, rate, alternating=True):
    with jax.enable_x64(True):
        ends = played(game, rule, cap, tuple(map(np.float64, start)), steps, rate, alternating)
        return tuple(map(float, ends))


def saddle(x, y):
    """f = (1 + x²)(100 - y²), which x minimises and y maximises."""
    return 2 * x * (100 - y**2), 2 * y * (1 + x**2)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, (0.06521, -3.754499, 86.268989)),
        ("fletcher_reeves", (0.001763, -3.607366, 86.987182)),
        ("polak_ribiere_polyak", (0.06711, -3.755276, 86.284780)),
        ("dai_yuan", (0.001763, -3.607366, 86.987182)),
        ("hager_zhang", (0.001997, -3.608768, 86.977140)),
    ],
)
def test_the_published_saddle_ends_where_it_should(rule, expected):
    x, y = in_float64(saddle, rule, ABOVE, (2, -4), 400, 5e-5)
    np.testing.assert_allclose(x, expected[0], atol=5e-6)
    np.testing.assert_allclose((y, (1 + x**2) * (100 - y**2)), expected[1:], atol=1e-6)


def test_on_numbers_hestenes_and_stiefel_s_rule_steps_every_second_time():
    """β = g/d, so that the next direction is 0, and not the rounding noise of that."""
    x, y = 2.0, -4.0
    for _ in range(200):
        x -= 5e-5 * saddle(x, y)[0]
        y -= 5e-5 * saddle(x, y)[1]
    found = in_float64(saddle, "hestenes_stiefel", ABOVE, (2, -4), 400, 5e-5)
    np.testing.assert_allclose(found, (x, y), rtol=1e-12)


def bilinear(x, y):
    return y, -x


@pytest.mark.parametrize(
    ("rule", "cap", "simultaneous", "alternating"),
    [
        (None, ABOVE, 2.70, 0.959),
        ("fletcher_reeves", ABOVE, 1.87e3, 97.9),
        ("hager_zhang", ABOVE, 308, 12.4),
        ("polak_ribiere_polyak", ABOVE, 0.497, 0.172),
        ("dai_yuan", (0, 0.5), 3.7e3, 872),
    ],
)
def test_conjugate_gradients_speed_a_rotation_up(rule, cap, simultaneous, alternating):
    """By how much 200 steps leave the equilibrium of x·y."""
    for turns, growth in ((False, simultaneous), (True, alternating)):
        ends = in_float64(bilinear, rule, cap, (1, 1), 200, 0.1, turns)
        np.testing.assert_allclose(math.hypot(*ends) / math.sqrt(2), growth, rtol=5e-3)


def test_without_a_floor_dai_and_yuan_s_rule_runs_away():
    assert math.hypot(*in_float64(bilinear, "dai_yuan", ABOVE, (1, 1), 200, 0.1)) > 1e20


def test_with_an_exact_line_search_all_rules_are_the_linear_method():
    """On a quadratic of 8 dimensions done in 8 steps, and not in 7."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    hessian, start = basis * np.linspace(1, 5, 8) @ basis.T, rng.normal(size=8)

    def trajectory(rule, w):
        tx = conjugate_gradient(rule, UNCAPPED)

        def search(carry, _):
            w, state = carry
            gradient = hessian @ w
            direction, state = tx.update(gradient, state)
            w -= gradient @ direction / (direction @ hessian @ direction) * direction
            return (w, state), w

        return jax.lax.scan(search, (w, tx.init(w)), length=8)[1]

    with jax.enable_x64(True):
        paths = jax.jit(lambda w: {rule: trajectory(rule, w) for rule in CONJUGATE_RULES})(start)
    for path in map(np.asarray, paths.values()):
        np.testing.assert_allclose(path, paths["fletcher_reeves"], atol=1e-12)
        assert np.abs(path[-1]).max() < 1e-12 < 1e-6 < np.abs(path[-2]).max()


@functools.partial(jax.jit, static_argnums=0, static_argnames=("cap", "scale"))
def second_direction(rule, previous, gradient, direction, cap=UNCAPPED, scale=1.0):
    """d after a step, in the signs of descent."""
    tx = conjugate_gradient(rule, cap, scale)
    state = tx.init(gradient)._replace(gradient=previous, direction=-direction)
    return -tx.update(gradient, state)[0]


@pytest.mark.parametrize("cap", [UNCAPPED, ABOVE, (0, 0.5)])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_hager_and_zhang_s_rule_descends_from_any_direction(scale, cap):
    """gᵀd ≤ -(1 - c/8) ‖g‖²."""
    with jax.enable_x64(True):
        draws = np.random.default_rng(0).normal(size=(3, 500, 4))
        directions = jax.vmap(functools.partial(second_direction, "hager_zhang", cap=cap, scale=scale))
        d = np.asarray(directions(*draws))
        slopes, bounds = np.sum(draws[1] * d, axis=1), -(1 - scale / 8) * np.sum(draws[1] ** 2, axis=1)
        assert np.all(slopes <= bounds + 1e-9)


def test_fletcher_and_reeves_rule_may_go_uphill_under_its_cap():
    g, d = np.float32([1, 0]), np.float32([4, 0])
    assert np.asarray(second_direction("fletcher_reeves", g, g, d, cap=(0, 0.5)))[0] > 0


@pytest.mark.parametrize("rule", CONJUGATE_RULES)
def test_an_unchanged_gradient_has_no_beta_but_fletcher_and_reeves_of_one(rule):
    g = np.float32([1, -2, 0.5])
    found = -np.asarray(second_direction(rule, g, g, -g))
    np.testing.assert_array_equal(found, (2 if rule == "fletcher_reeves" else 1) * g)


@pytest.mark.parametrize("rule", CONJUGATE_RULES)
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_beta_does_not_depend_on_the_unit(rule, scale):
    vectors = np.float32([[1.0, 2.0, 0.5], [0.7, -1.0, 0.2], [-1.0, 1.0, 2.0]])
    expected = second_direction(rule, *vectors)
    found = np.asarray(second_direction(rule, *(np.float32(scale) * vectors)))
    np.testing.assert_allclose(found / np.float32(scale), expected, rtol=1e-5)


def test_the_capped_and_scaled_sum_is_the_formula():
    previous, g = np.float32([1, 0]), np.float32([0, 3])
    found = second_direction("fletcher_reeves", previous, g, -previous, cap=(0, 0.5), scale=0.75)
    np.testing.assert_allclose(found, [-0.375, -3.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("steepest",), "rule must be one of"),
        (("dai_yuan", (0.5, 0.0)), r"cap must not descend, got \(0.5, 0.0\)"),
        (("dai_yuan", (0.0, 0.5), 0.0), r"scale must be in \(0, 1\], got 0.0"),
        (("dai_yuan", (0.0, 0.5), 1.1), r"scale must be in \(0, 1\], got 1.1"),
    ],
)
def test_meaningless_options_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        conjugate_gradient(*arguments)


def test_extragradient_spirals_into_the_equilibrium():
    """By √(1 - η² + η⁴) a step, where gradient descent spirals out by √(1 + η²)."""
    rate, steps = 0.3, 50
    tx = extragradient(optax.sgd(rate))
    field = lambda players: jnp.stack(bilinear(*players))  # noqa: E731

    def step(_, carry):
        players, state = carry
        updates, state = tx.update(field(players), state, players, grad_fn=field)
        return players + updates, state

    with jax.enable_x64(True):
        start = np.array([1.0, 1.0])
        ends, _ = jax.jit(lambda w: jax.lax.fori_loop(0, steps, step, (w, tx.init(w))))(start)
        expected = math.sqrt(2) * (1 - rate**2 + rate**4) ** (steps / 2)
        np.testing.assert_allclose(np.linalg.norm(ends), expected, rtol=1e-12)


def test_extragradient_counts_a_step_once():
    tx = extragradient(optax.sgd(lambda count: 1.0 / (1 + count)))
    step = jax.jit(lambda w, state: tx.update(jnp.ones_like(w), state, w, grad_fn=jnp.ones_like))
    w, rates = np.float32(0), []
    state = tx.init(w)
    for _ in range(3):
        update, state = step(w, state)
        rates.append(-float(update))
    np.testing.assert_allclose(rates, [1, 1 / 2, 1 / 3], rtol=1e-6)
    with pytest.raises(ValueError, match="extragradient needs params and grad_fn"):
        tx.update(w, state, w)
