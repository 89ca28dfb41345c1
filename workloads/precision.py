"""Computing in fewer bits than the weights have."""

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import PyTree

from workloads.workload import Workload


def with_compute_dtype(workload: Workload, dtype: DTypeLike) -> Workload:
    """The same workload, its loss and logits computed in `dtype`, such as bfloat16, from weights that stay as
    they are.

    Parameters and batch are rounded to `dtype` before the loss; the gradient comes back in the parameters'
    own type, so the optimizer and its state keep float32, the master weights. What a loss widens itself
    (softmax, normalisation) stays wide; float32 changes nothing. `evaluate` measures the master weights in
    their own precision.

    Raises ValueError when `dtype` is not a floating type.
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype must be a floating type, got {jnp.dtype(dtype).name}")

    def rounded(tree: PyTree) -> PyTree:
        return jax.tree.map(
            lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
        )

    def loss(params, batch, key):
        return workload.loss(rounded(params), rounded(batch), key).astype(jnp.float32)

    def max_logits(params, batch):
        return workload.max_logits(rounded(params), rounded(batch))

    return workload._replace(loss=loss, max_logits=max_logits)
