"""Games: each of two players descends on a loss of its own, which depends on both."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import jax
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from workloads.training import Optimizer

Players = tuple[PyTree, PyTree]  # the parameters of each
Turns = Literal["alternating", "simultaneous"]
MOVES: Mapping[Turns, tuple[tuple[int, ...], ...]] = MappingProxyType(  # who moves together, in a step
    {"alternating": ((0,), (1,)), "simultaneous": ((0, 1),)}
)


class Game(NamedTuple):
    """A game of two players, as pure functions.

    Attributes:
      init: key → both players.
      batch: key → what the losses of a step are computed on.
      losses: (players, batch) → the loss of each, on which it alone descends.
      evaluate: (players, key) → scalars by name.
    """

    init: Callable[[PRNGKeyArray], Players]
    batch: Callable[[PRNGKeyArray], PyTree]
    losses: Callable[[Players, PyTree], tuple[Float[Array, ""], Float[Array, ""]]]
    evaluate: Callable[[Players, PRNGKeyArray], dict[str, Float[Array, ""]]]


def play(
    game: Game,
    optimizer: Optimizer,
    learning_rates: Float[Array, "steps"],
    key: PRNGKeyArray,
    *,
    turns: str = "alternating",
) -> dict[str, Float[Array, ""]]:
    """What `game.evaluate` says after as many steps as there are learning rates.

    Alternating, the first player moves and the second sees where; simultaneously, neither sees the other's
    move. Who moves together has one state and one `update`, which is given `grad_fn`: moving players → the
    gradient of each one's own loss, on the same batch, as `optim.extragradient` needs it. On x·y, which x
    minimises and y maximises, simultaneous gradient descent leaves the equilibrium by √(1 + η²) a step, while
    alternating it goes around it for ever.

    Args:
      game: see `Game`.
      optimizer: schedule → gradient transformation, the same for both players.
      learning_rates: one a step, for both players; they may be traced.
      key: of the start, all batches and the evaluation.
      turns: whether the players move one after the other, "alternating" or "simultaneous".

    Raises:
      ValueError: there are no such `turns`.
    """
    if turns not in MOVES:
        raise ValueError(f"turns must be one of {get_args(Turns)}, got {turns!r}")
    transformation = optax.with_extra_args_support(optimizer(lambda count: learning_rates[count]))
    start_key, batch_key, evaluation_key = jax.random.split(key, 3)

    def moved(players: Players, state: PyTree, movers: tuple[int, ...], batch: PyTree):
        def gradients(moving: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
            current = _placed(players, movers, moving)

            def own_loss(params, mover):
                return game.losses(_placed(current, (mover,), (params,)), batch)[mover]

            return tuple(jax.grad(own_loss)(current[mover], mover) for mover in movers)

        moving = tuple(players[mover] for mover in movers)
        updates, state = transformation.update(gradients(moving), state, moving, grad_fn=gradients)
        return _placed(players, movers, optax.apply_updates(moving, updates)), state

    def step(carry, step_key):
        (players, states), batch = carry, game.batch(step_key)
        moves = []
        for movers, state in zip(MOVES[turns], states, strict=True):
            players, state = moved(players, state, movers, batch)
            moves.append(state)
        return (players, tuple(moves)), None

    players = game.init(start_key)
    states = tuple(transformation.init(tuple(players[k] for k in movers)) for movers in MOVES[turns])
    step_keys = jax.random.split(batch_key, learning_rates.shape[0])
    (players, _), _ = jax.lax.scan(step, (players, states), step_keys)
    return game.evaluate(players, evaluation_key)


def _placed(players: Players, places: tuple[int, ...], others: tuple[PyTree, ...]) -> Players:
    """The players with others in some places."""
    return tuple(others[places.index(k)] if k in places else player for k, player in enumerate(players))
