"""SA-SAM's rate and radius against their closed values on quadratics, and a NumPy loop."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import smoothness_adaptive


def trajectory(tx, gradient, params, steps):
    """Parameters and states after each step."""

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(gradient(params), state, params, grad_fn=gradient)
        params = optax.apply_updates(params, updates)
        return (params, state), (params, state)

    with jax.enable_x64(True):
        run = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=steps)[1])
        found = run(np.asarray(params, float))
        return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize(("curvature", "size"), [(1, 0.235702), (5, 0.105409)])
def test_on_a_bowl_it_measures_the_curvature_at_once(curvature, size):
    """η = 1/(2a) from the first step measured, ρ = √η, and |w| → ρ/3."""
    params, states = trajectory(smoothness_adaptive(), lambda w: curvature * w, [2.0, -1.0], 300)
    np.testing.assert_allclose(states.eta[1:], 1 / (2 * curvature), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(params[-2:], axis=1), size, atol=1e-6)


def test_the_published_form_finds_twice_that_slowly():
    """η, ρ and |w| → 1 on ½w², and a growth of 1 % a step: 232 steps for a factor of 10."""
    params, states = trajectory(smoothness_adaptive(0.05, form="published"), lambda w: w, 2.0, 3000)
    assert 229 <= np.searchsorted(states.eta, 0.5) <= 235
    np.testing.assert_allclose([states.eta[-1], abs(params[-1])], 1, atol=1e-4)


def test_on_any_quadratic_the_rate_lies_between_the_curvatures():
    hessian = np.diag([0.3, 1.0, 7.0])
    _, states = trajectory(smoothness_adaptive(), lambda w: hessian @ w, [1.0, 2.0, -1.0], 200)
    rates = states.eta[1:]
    assert np.all((rates >= 1 / (2 * 7) - 1e-12) & (rates <= 1 / (2 * 0.3) + 1e-12))


def test_in_rosenbrock_s_valley_it_ends_where_the_curvature_is_half_that_at_the_minimum():
    """In the two-cycle of a NumPy loop, short of (1, 1), from whatever first rate."""

    def gradient(w):
        x, y = w
        return -2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)

    w, previous, eta, theta, ends = np.zeros(2), None, 0.05, math.inf, []
    for _ in range(30_000):
        g = np.array(gradient(w))
        if previous is not None:
            quotient = np.linalg.norm(w - previous) / (2 * np.linalg.norm(g - gradient(previous)))
            rate = min(quotient, math.sqrt(1 + theta) * eta)
            eta, theta = rate, rate / eta
        previous = w
        w = w - eta * np.array(gradient(w + math.sqrt(eta) * g / np.linalg.norm(g)))
        ends = [*ends[-1:], w]
    for first_rate in (0.05, 0.003):
        tx = smoothness_adaptive(first_rate)
        params, states = trajectory(tx, lambda w: jnp.stack(gradient(w)), np.zeros(2), 100_000)
        np.testing.assert_allclose(sorted(params[-2:, 0]), sorted(end[0] for end in ends), rtol=1e-6)
        np.testing.assert_allclose(states.eta[-1], eta, rtol=1e-6)
    x, y = np.mean(ends, axis=0)
    hessian = np.array([[2 - 400 * (y - 3 * x * x), -400 * x], [-400 * x, 200]])
    assert np.linalg.eigvalsh(hessian)[-1] == pytest.approx(1 / (2 * eta), rel=1e-3)
    assert 1 / (2 * eta) == pytest.approx(465.5, abs=0.1)  # at the minimum it is 1001.6


def test_a_loss_times_nine_has_a_third_of_the_radius():
    """Measured at the same point, after a first step too short to matter."""
    tx = smoothness_adaptive(1e-9)
    rates = [trajectory(tx, lambda w, a=a: a * w**3, [1.0, 0.5], 2)[1].eta[-1] for a in (1, 9)]
    np.testing.assert_allclose(math.sqrt(rates[0] / rates[1]), 3, rtol=1e-6)


def test_on_a_line_the_rate_stays():
    params, states = trajectory(smoothness_adaptive(0.2), jnp.ones_like, [0.0], 4)
    np.testing.assert_array_equal(states.eta, [0.2] * 4)
    np.testing.assert_allclose(params[:, 0], [-0.2, -0.4, -0.6, -0.8])


def test_at_a_minimum_nothing_moves():
    params, states = trajectory(smoothness_adaptive(), lambda w: w, [0.0, 0.0], 3)
    np.testing.assert_array_equal(params, np.zeros((3, 2)))
    np.testing.assert_array_equal(states.eta, [0.05] * 3)


FORMS = {"paper": (2, 1, 0, math.inf), "published": (1, 0.02, 1e-8, 1)}


@pytest.mark.parametrize("form", FORMS)
def test_it_follows_the_recursion(form):
    """All three gradients of the step's own batch."""
    rng = np.random.default_rng(0)
    targets, w, steps = rng.normal(size=(6, 3)), rng.normal(size=3), 6
    damping, growth, offset, theta = FORMS[form]
    eta, previous, expected, lasting = 0.05, None, [], w

    def gradient(w, t):
        return np.sinh(w - targets[t])

    for t in range(steps):
        g, last = gradient(lasting, t), eta
        if t > 0:
            bound = math.sqrt(1 + growth * theta) * eta
            change = np.linalg.norm(g - gradient(previous, t))
            eta = min(np.linalg.norm(lasting - previous) / (damping * change + offset), bound)
            theta = eta / last
        radius = math.sqrt(last if form == "published" else eta)
        previous, lasting = lasting, lasting - eta * gradient(lasting + radius * g / np.linalg.norm(g), t)
        expected.append(lasting)
    tx = smoothness_adaptive(form=form)
    with jax.enable_x64(True):

        @jax.jit
        def run(w):
            def step(carry, target):
                w, state = carry
                updates, state = tx.update(
                    jnp.sinh(w - target), state, w, grad_fn=lambda w: jnp.sinh(w - target)
                )
                w = optax.apply_updates(w, updates)
                return (w, state), w

            return jax.lax.scan(step, (w, tx.init(w)), targets)[1]

        found = run(w)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_rate": 0.0}, "initial_rate must be positive, got 0.0"),
        ({"initial_rate": optax.constant_schedule(0.1)}, "initial_rate must be a number, got a schedule"),
        ({"form": "code"}, "form must be one of"),
    ],
)
def test_meaningless_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        smoothness_adaptive(**options)


def test_an_update_says_what_it_lacks():
    tx, w = smoothness_adaptive(), jnp.ones(2)
    with pytest.raises(ValueError, match="smoothness_adaptive needs params and grad_fn"):
        tx.update(w, tx.init(w), w)
