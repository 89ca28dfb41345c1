"""The games: a saddle that conjugate gradients were shown on, a rotation, a network that learns to draw."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from experiments.games.config import Config
from experiments.games.samples import covered_modes, mixture, sliced_wasserstein
from workloads import Game

DIMENSION = 8  # of each player of the bilinear game
DRAWN = 2_048  # samples that a generator is judged by


class Network(nn.Module):
    """Two hidden layers with ReLU, then the `head`."""

    width: int
    outputs: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch outputs"]:
        for _ in range(2):
            x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(self.outputs, name="head")(x)


def saddle(config: Config) -> Game:
    """f = (1 + x²)(100 - y²), which x minimises and y maximises, from near (2, -4): arXiv:2203.14495.

    Near the saddle, gradient descent contracts x by 1 - 200 η and y by 1 - 2 η a step.
    """

    def value(x, y):
        return (1 + x**2) * (100 - y**2)

    def start(key):
        return tuple(jnp.array([2.0, -4.0]) + 0.5 * jax.random.normal(key, (2,)))

    return _zero_sum(value, start, (), config.noise)


def bilinear(config: Config) -> Game:
    """f = xᵀA y with singular values from 0.3 to 1, whose gradient turns around the equilibrium at 0."""
    orthogonal = jax.random.orthogonal(jax.random.key(0), DIMENSION)
    matrix = orthogonal * jnp.linspace(0.3, 1, DIMENSION)[None, :]

    def start(key):
        return tuple(jax.random.normal(key, (2, DIMENSION)))

    return _zero_sum(lambda x, y: x @ matrix @ y, start, (DIMENSION,), config.noise)


def gan(config: Config) -> Game:
    """Eight Gaussians on a circle: the first player tells them from the second's samples, with the
    non-saturating losses of arXiv:1406.2661."""
    discriminator, generator = Network(config.width, 1), Network(config.width, 2)

    def init(key):
        keys = jax.random.split(key)
        networks = (discriminator, generator)
        return tuple(net.init(k, jnp.zeros((1, 2))) for net, k in zip(networks, keys, strict=True))

    def batch(key, count=config.batch_size):
        real, latent = jax.random.split(key)
        return mixture(real, count), jax.random.normal(latent, (count, 2))

    def losses(players, batch):
        real, latent = batch
        fake = discriminator.apply(players[0], generator.apply(players[1], latent))
        told = jax.nn.softplus(-discriminator.apply(players[0], real)) + jax.nn.softplus(fake)
        return jnp.mean(told), jnp.mean(jax.nn.softplus(-fake))

    def evaluate(players, key):
        real, latent = batch(key, DRAWN)
        drawn = generator.apply(players[1], latent)
        return {"distance": sliced_wasserstein(drawn, real), "modes": covered_modes(drawn)}

    return Game(init, batch, losses, evaluate)


def _zero_sum(
    value: Callable[[Array, Array], Float[Array, ""]],
    start: Callable[[PRNGKeyArray], tuple[Array, Array]],
    shape: tuple[int, ...],
    noise: float,
) -> Game:
    """A game around an equilibrium at 0; normal noise is added to every coordinate of the gradients."""

    def losses(players, batch):
        x, y = players
        return value(x, y) + jnp.sum(batch[0] * x), jnp.sum(batch[1] * y) - value(x, y)

    def evaluate(players, key):
        return {"distance": jnp.sqrt(sum(jnp.sum(player**2) for player in players))}

    return Game(start, lambda key: noise * jax.random.normal(key, (2, *shape)), losses, evaluate)


GAMES: Mapping[str, Callable[[Config], Game]] = MappingProxyType(
    {"saddle": saddle, "bilinear": bilinear, "gan": gan}
)
