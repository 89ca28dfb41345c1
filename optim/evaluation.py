"""The parameters to evaluate, where an optimizer keeps others than those it trains."""

import jax
from jaxtyping import PyTree


def evaluation_params(state: PyTree, params: PyTree) -> PyTree:
    """What is to be evaluated of an optimizer that trains at `params`: what its state offers, or `params`.

    A part of a state offers parameters by a method `evaluation_params(params)`, and is found inside
    `optax.chain` and other wrappers; what it has inside is its own affair. Of several, each gets what the one
    before it returned.

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
    for part in jax.tree.leaves(state, is_leaf=_offers):
        if _offers(part):
            params = part.evaluation_params(params)
    return params


def _offers(node: PyTree) -> bool:
    return hasattr(node, "evaluation_params")
