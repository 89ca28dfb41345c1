"""Games of two players: the published saddle, and the rotation of x·y under several orders of moves."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from workloads import Game, play


def game_of(value, start):
    """A game in which the first player minimises a value and the second maximises it."""
    return Game(
        init=lambda key: tuple(map(jnp.asarray, start)),
        batch=lambda key: None,
        losses=lambda players, batch: (value(*players), -value(*players)),
        evaluate=lambda players, key: dict(zip("xy", players, strict=True)),
    )


def ends(game, optimizer, rate, steps, turns):
    with jax.enable_x64(True):
        run = jax.jit(lambda key: play(game, optimizer, jnp.full(steps, rate), key, turns=turns))
        return tuple(float(value) for value in run(jax.random.key(0)).values())


def product(x, y):
    return x * y


def test_the_second_player_sees_where_the_first_moved():
    """The published end of alternating gradient descent."""
    saddle = game_of(lambda x, y: (1 + x**2) * (100 - y**2), (2.0, -4.0))
    x, y = ends(saddle, optax.sgd, 5e-5, 400, "alternating")
    np.testing.assert_allclose(x, 0.06521, atol=5e-6)
    np.testing.assert_allclose((y, (1 + x**2) * (100 - y**2)), (-3.754499, 86.268989), atol=1e-6)


def test_neither_sees_the_other_s_simultaneous_move():
    """On x·y each step leaves the equilibrium by √(1 + η²)."""
    found = math.hypot(*ends(game_of(product, (1.0, 0.0)), optax.sgd, 0.1, 200, "simultaneous"))
    np.testing.assert_allclose(found, 1.01**100, rtol=1e-12)


def extragradient(schedule):
    """Korpelevich's step in the words of the hook that `play` offers."""

    def update(updates, state, params, *, grad_fn):
        rate = schedule(state)
        ahead = jax.tree.map(lambda w, g: w - rate * g, params, updates)
        return jax.tree.map(lambda g: -rate * g, grad_fn(ahead)), state + 1

    return optax.GradientTransformationExtraArgs(lambda params: jnp.int32(0), update)


@pytest.mark.parametrize(
    ("turns", "factor"), [("simultaneous", math.sqrt(1 - 0.3**2 + 0.3**4)), ("alternating", None)]
)
def test_gradients_are_asked_for_elsewhere_with_all_who_do_not_move_staying(turns, factor):
    """Looking ahead alone changes nothing on x·y, where one's own gradient is the other's place."""
    game = game_of(product, (1.0, 0.0))
    found = ends(game, extragradient, 0.3, 50, turns)
    if factor is None:
        np.testing.assert_allclose(found, ends(game, optax.sgd, 0.3, 50, turns), rtol=1e-12)
    else:
        np.testing.assert_allclose(math.hypot(*found), factor**50, rtol=1e-12)


def test_learning_rates_are_those_of_their_steps_and_batches_differ():
    drawn = Game(
        init=lambda key: (jnp.zeros(()), jnp.zeros(())),
        batch=lambda key: jax.random.normal(key),
        losses=lambda players, batch: (batch * players[0], players[1]),
        evaluate=lambda players, key: {"x": players[0], "y": players[1]},
    )
    rates = jnp.array([0.5, 0.25, 0.125])
    found = functools.partial(play, drawn, optax.sgd, rates)(jax.random.key(1))
    batches = jax.vmap(jax.random.normal)(jax.random.split(jax.random.split(jax.random.key(1), 3)[1], 3))
    np.testing.assert_allclose(found["x"], -np.sum(rates * batches), rtol=1e-5)
    np.testing.assert_allclose(found["y"], -0.875)


def test_unknown_turns_are_refused():
    with pytest.raises(ValueError, match=r"turns must be one of .*alternating.*got 'random'"):
        play(game_of(product, (1.0, 1.0)), optax.sgd, jnp.ones(1), jax.random.key(0), turns="random")
