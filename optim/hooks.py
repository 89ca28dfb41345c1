"""What methods ask of a training loop: where a gradient is taken, and which parameters are evaluated.

A part of a state answers by a method of the same name, and is found inside `optax.chain` and other wrappers;
what it has inside is its own affair. What else methods may ask for, `grad_fn` and `max_logits`, their updates
are given.
"""

from collections.abc import Callable

import jax
from jaxtyping import PRNGKeyArray, PyTree


def evaluation_params(state: PyTree, params: PyTree) -> PyTree:
    """What is to be evaluated of an optimizer that trains at `params`: what its state offers, or `params`.

    Of several parts that offer some, each gets what the one before it returned.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> import optim
    >>> tx = optax.chain(optax.clip(1.0), optim.local_sgd(optax.sgd(0.1), every=2))
    >>> params = jnp.array(1.0)
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> params = optax.apply_updates(params, updates)
    >>> print(f"{params:.2f} {evaluation_params(state, params):.2f}")  # the anchor waits for the second step
    0.90 1.00

    Args:
      state: the optimizer's.
      params: those that its updates are applied to, shaped as the result.
    """
    for part in offers(state, "evaluation_params"):
        params = part.evaluation_params(params)
    return params


def sample(key: PRNGKeyArray, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
    """The weights to take the next gradient at, and the optimizer's state that knows of them.

    To be called before every step, whatever the optimizer: where no part of the state draws, the parameters
    are what is drawn. `ivon` draws from its Gaussian around them, several samples stacked on a leading axis.
    To predict, draw as well, and forget the state that comes back.

    Raises ValueError where several parts of the state would draw.
    """
    if not (parts := offers(state, "sample")):
        return params, state
    if len(parts) > 1:
        raise ValueError(f"sample: one part of the state may draw, not {len(parts)}")
    drawn, part = parts[0].sample(key, params)
    return drawn, jax.tree.map(
        lambda node: part if node is parts[0] else node, state, is_leaf=_offering("sample")
    )


def offers(state: PyTree, name: str) -> list[PyTree]:
    """The parts of a state that have a method of that name."""
    offering = _offering(name)
    return [node for node in jax.tree.leaves(state, is_leaf=offering) if offering(node)]


def _offering(name: str) -> Callable[[PyTree], bool]:
    return lambda node: callable(getattr(node, name, None))
