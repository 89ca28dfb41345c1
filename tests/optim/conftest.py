"""What the tests of the optimizers share: a way to run them, and a small transformer in both Flax APIs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

VOCABULARY, WIDTH, HEADS, DIM, HIDDEN = 5, 6, 2, 4, 12


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def run():
    """(tx, params, gradients) → the parameters after each step, with one compiled step."""

    def run(tx, params, gradients):
        @jax.jit
        def step(params, state, gradient):
            updates, state = tx.update(gradient, state, params)
            return optax.apply_updates(params, updates), state

        state, trajectory = jax.jit(tx.init)(params), []
        for gradient in gradients:
            params, state = step(params, state, gradient)
            trajectory.append(params)
        return trajectory

    return run


@pytest.fixture(scope="session")
def draw():
    """(shapes, steps) → a tree of parameters of these shapes and as many trees of gradients, in NumPy."""

    def draw(shapes, steps, seed=0, dtype=np.float32):
        rng = np.random.default_rng(seed)

        def normal(shape):
            return np.asarray(rng.normal(size=shape), dtype)

        trees = [
            jax.tree.map(normal, shapes, is_leaf=lambda node: isinstance(node, tuple))
            for _ in range(steps + 1)
        ]
        return trees[0], trees[1:]

    return draw


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        attention = nn.MultiHeadDotProductAttention(
            num_heads=HEADS, qkv_features=HEADS * DIM, name="attention"
        )
        x = x + attention(nn.LayerNorm(name="norm_0")(x))
        hidden = nn.relu(nn.Dense(HIDDEN, name="up")(nn.LayerNorm(name="norm_1")(x)))
        return x + nn.Dense(WIDTH, name="down")(hidden)


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(VOCABULARY, WIDTH, name="embed")(tokens)
        x = Block(name="block_0")(nn.Conv(WIDTH, (3,), name="conv")(x))
        return nn.Dense(VOCABULARY, name="head")(x)


class NNXBlock(nnx.Module):
    def __init__(self, rngs):
        self.norm_0 = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, HEADS * DIM, decode=False, rngs=rngs)
        self.norm_1 = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.up = nnx.Linear(WIDTH, HIDDEN, rngs=rngs)
        self.down = nnx.Linear(HIDDEN, WIDTH, rngs=rngs)


class NNXTransformer(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.conv = nnx.Conv(WIDTH, WIDTH, (3,), rngs=rngs)
        self.block_0 = NNXBlock(rngs)
        self.head = nnx.Linear(WIDTH, VOCABULARY, rngs=rngs)


@pytest.fixture(scope="session")
def linen_transformer():
    """The shapes of the Linen transformer's parameters."""
    return jax.eval_shape(Transformer().init, jax.random.key(0), jnp.zeros((1, 4), int))["params"]


@pytest.fixture
def nnx_transformer():
    """The NNX transformer, of the same parameters, all normal; new for each test, which may change it."""
    rng = np.random.default_rng(0)
    graph, abstract = nnx.split(nnx.eval_shape(lambda: NNXTransformer(nnx.Rngs(0))))
    return nnx.merge(
        graph, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), abstract)
    )
