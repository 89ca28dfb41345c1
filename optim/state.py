"""Parts of an optimizer's state that are not shaped as the parameters."""

import jax
import jax.numpy as jnp
from jaxtyping import PyTree


def beside_params(part: PyTree, params: PyTree) -> PyTree:
    """`part`, whose structure follows the parameters and is not theirs; one number where there are none.

    `optax.tree_map_params` compares a state with that of a placeholder without leaves. A leaf in the latter
    stands for a whole part of the former that is no copy of the parameters.
    """
    return part if jax.tree.leaves(params) else jnp.zeros([])
