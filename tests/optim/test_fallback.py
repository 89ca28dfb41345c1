"""What becomes of the leaves that are no hidden matrices: the fallback, at its own rates."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim import Choice, Decay, dion, muon, orth_dion, spec_sign, spectral_descent

ETA, LAMBDA = 0.1, 0.2
CHOICE = Choice(lambda gradients, **_: jax.tree.map(jnp.sum, gradients), kinds=("hidden",))
METHODS = [muon, spectral_descent, dion, orth_dion, functools.partial(spec_sign, choice=CHOICE)]


class Model(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(5, 4, name="embed")(tokens)
        return nn.Dense(5, name="head")(nn.relu(nn.Dense(6)(x)))


@pytest.mark.parametrize(
    ("fallback", "reference"),
    [
        (optax.scale_by_adam(b2=0.95), lambda rate, decay: optax.adamw(rate, b2=0.95, weight_decay=decay)),
        (optax.scale_by_lion(), lambda rate, decay: optax.lion(rate, weight_decay=decay)),
    ],
    ids=["adamw", "lion"],
)
def test_all_but_hidden_matrices_follow_the_fallback_at_its_own_rates(fallback, reference, run, draw):
    shapes = jax.tree.map(
        lambda leaf: leaf.shape, jax.eval_shape(Model().init, jax.random.key(0), jnp.zeros((1, 3), int))
    )
    params, gradients = draw(shapes, 4)

    def rate(t):
        return 0.03 / (1 + t)

    tx = muon(
        ETA,
        weight_decay=LAMBDA,
        polar="svd",
        fallback=fallback,
        fallback_learning_rate=rate,
        fallback_weight_decay=0.5,
    )
    found, theirs = run(tx, params, gradients)[-1], run(reference(rate, 0.5), params, gradients)[-1]
    hidden = found["params"]["Dense_0"].pop("kernel"), theirs["params"]["Dense_0"].pop("kernel")
    assert np.abs(hidden[0] - hidden[1]).max() > 0.1
    # weights of order 1, two roundings a step
    jax.tree.map(lambda f, e: np.testing.assert_allclose(f, e, rtol=0, atol=2e-6), found, theirs)


def test_without_rates_of_its_own_the_fallback_takes_the_learning_rate_and_decays_by_its_schedule(run, draw):
    params, gradients = draw({"bias": (4,), "kernel": (2, 2)}, 4)
    schedule = optax.linear_schedule(0.2, 0.05, 3)
    decay = Decay("schedule", peak_learning_rate=0.2)
    options = {"fallback": optax.identity(), "fallback_weight_decay": LAMBDA, "decay": decay}
    for own_rate, rate in ((None, lambda t: 0.2 - 0.05 * t), (0.01, lambda t: 0.01)):
        tx = muon(schedule, fallback_learning_rate=own_rate, **options)
        expected = np.float64(params["bias"])
        for t, gradient in enumerate(gradients):
            # the fraction follows the matrices' schedule whichever rate the fallback has
            expected = expected * (1 - LAMBDA * (1 - 0.25 * t)) - rate(t) * gradient["bias"]
        np.testing.assert_allclose(run(tx, params, gradients)[-1]["bias"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", METHODS, ids=["muon", "spectral", "dion", "orth_dion", "spec_sign"])
def test_its_numbers_are_injected_by_every_method_and_may_be_changed_in_the_state(method):
    static = [name for name in ("rank_fraction", "rank_multiple") if method in (dion, orth_dion)]
    inject = optax.inject_hyperparams(method, static_args=static)
    tx = inject(
        ETA,
        fallback=optax.identity(),
        fallback_learning_rate=0.5,
        fallback_weight_decay=0.25,
        weight_decay=0.0,
    )
    params = {"bias": np.float32([4, -8]), "kernel": np.eye(2, dtype=np.float32)}

    @jax.jit
    def update(params):
        state = tx.init(params)
        state.hyperparams["fallback_learning_rate"] = jnp.asarray(0.125)
        state.hyperparams["fallback_weight_decay"] = jnp.asarray(0.5)
        return tx.update(jax.tree.map(jnp.ones_like, params), state, params)[0]

    updates = update(params)
    np.testing.assert_array_equal(updates["bias"], [-0.125 - 0.25, -0.125 + 0.5])
