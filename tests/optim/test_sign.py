"""Sign descent and signum against a NumPy loop in float64, and against optax's."""

import jax
import numpy as np
import optax
import pytest

from optim import Decay, sign_descent, signum

SHAPES = {"kernel": (3, 2), "bias": (2,)}
STEPS, PEAK, LAMBDA = 6, 0.3, 0.2
MASK = {"kernel": True, "bias": False}
FLOAT64 = {"rtol": 1e-12, "atol": 1e-13}


def rate(t):
    return PEAK * 0.7**t


def numpy_signum(params, gradients, eta, delta, beta=0.0, nesterov=False, mask=None):
    """The parameters after each step; `eta` and `delta` are functions of the step."""
    trajectory, average = [], dict.fromkeys(params, 0.0)
    for t, gradient in enumerate(gradients):
        updated = {}
        for name, weight in params.items():
            average[name] = beta * average[name] + (1 - beta) * gradient[name]
            lookahead = (1 - beta) * gradient[name] + beta * average[name]
            shrunk = weight * (1 - delta(t)) if mask is None or mask[name] else weight
            updated[name] = shrunk - eta(t) * np.sign(lookahead if nesterov else average[name])
        params = updated
        trajectory.append(params)
    return trajectory


def check(run, draw, tx, *arguments, **options):
    with jax.enable_x64(True):
        params, gradients = draw(SHAPES, STEPS, dtype=np.float64)
        found = run(tx, params, gradients)
        expected = numpy_signum(params, gradients, *arguments, **options)
        jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, **FLOAT64), found, expected)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("beta", [0.5, 0.9])
def test_signum_steps_by_the_sign_of_the_running_average(beta, nesterov, run, draw):
    tx = signum(0.1, beta, nesterov=nesterov)
    check(run, draw, tx, lambda t: 0.1, lambda t: 0.0, beta=beta, nesterov=nesterov)


@pytest.mark.parametrize(
    ("decay", "delta"),
    [
        (Decay(), lambda t: rate(t) * LAMBDA),
        (Decay("schedule", peak_learning_rate=PEAK), lambda t: rate(t) / PEAK * LAMBDA),
        (Decay("independent"), lambda t: LAMBDA),
    ],
    ids=["learning_rate", "schedule", "independent"],
)
def test_signum_decays_by_each_coupling_under_a_schedule(decay, delta, run, draw):
    tx = signum(rate, 0.8, nesterov=True, weight_decay=LAMBDA, decay=decay)
    check(run, draw, tx, rate, delta, beta=0.8, nesterov=True)


@pytest.mark.parametrize(
    "mask", [MASK, lambda params: jax.tree.map(lambda p: p.ndim > 1, params)], ids=["tree", "function"]
)
def test_masked_leaves_do_not_decay(mask, run, draw):
    tx = signum(0.1, 0.8, weight_decay=LAMBDA, decay=Decay(mask=mask))
    check(run, draw, tx, lambda t: 0.1, lambda t: 0.1 * LAMBDA, beta=0.8, mask=MASK)


def test_sign_descent_is_signum_without_momentum(run, draw):
    decay = Decay("independent", mask=MASK)
    tx = sign_descent(rate, weight_decay=LAMBDA, decay=decay)
    check(run, draw, tx, rate, lambda t: LAMBDA, mask=MASK)
    params, gradients = draw(SHAPES, STEPS)
    theirs = run(signum(rate, 0.0, weight_decay=LAMBDA, decay=decay), params, gradients)
    ours = run(tx, params, gradients)
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=0, atol=2e-6), ours, theirs)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (signum(rate, 0.9), optax.signum(rate, 0.9)),
        (sign_descent(rate), optax.sign_sgd(rate)),
        (sign_descent(rate, weight_decay=LAMBDA), optax.lion(rate, b1=0.0, b2=0.5, weight_decay=LAMBDA)),
    ],
    ids=["signum", "sign_sgd", "lion without memory"],
)
def test_without_what_optax_lacks_it_is_optaxs(ours, theirs, run, draw):
    params, gradients = draw(SHAPES, STEPS)
    jax.tree.map(
        # weights of order 1, two roundings of float32 a step
        lambda f, e: np.testing.assert_allclose(f, e, rtol=0, atol=2e-6),
        run(ours, params, gradients),
        run(theirs, params, gradients),
    )


def test_nesterovs_signum_is_lion_that_blends_by_beta_squared(run, draw):
    # Lion takes the sign of b1·m + (1 - b1)·g with m from before the step; Nesterov's m has g in it already,
    # (1 - β)g + β(βm + (1 - β)g) = β²m + (1 - β²)g, which is Lion's with b1 = β²
    params, gradients = draw(SHAPES, STEPS)
    ours = run(signum(rate, 0.9, nesterov=True), params, gradients)
    theirs = run(optax.lion(rate, b1=0.81, b2=0.9, weight_decay=0.0), params, gradients)
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=0, atol=2e-6), ours, theirs)


def test_a_step_does_not_depend_on_the_size_of_the_gradients(run, draw):
    params, gradients = draw(SHAPES, STEPS)
    smaller = jax.tree.map(lambda g: g * np.float32(2.0**-40), gradients)
    tx = signum(0.1, 0.9)
    jax.tree.map(np.testing.assert_array_equal, run(tx, params, gradients), run(tx, params, smaller))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: signum(-0.1), "learning_rate"),
        (lambda: signum(0.1, 1.0), "momentum"),
        (lambda: signum(0.1, weight_decay=-0.1), "weight_decay"),
        (lambda: sign_descent(-0.1), "learning_rate"),
        (lambda: sign_descent(0.1, weight_decay=-0.1), "weight_decay"),
    ],
)
def test_meaningless_options_are_refused_by_name(make, name):
    with pytest.raises(ValueError, match=f"^{name} must be in"):
        make()
