"""Attention logits kept below a threshold by the weights that make them: QK-clip."""

import math
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from geometry.matrices import leaf_path, leaves_by_path
from geometry.precision import widened
from optim.options import check_positive
from optim.roles import words

_QUERY_OR_KEY = re.compile(r"^((query|key|[qk])(_proj)?|w_?[qk]|to_[qk])$")
_FUSED = re.compile(r"^(to_|w_?)?qkv(_proj)?$")  # all queries, then all keys, then all values


def qk_clip(threshold: ArrayLike = 100.0) -> optax.GradientTransformationExtraArgs:
    """Shrink the queries and keys of heads whose attention logits grew too large: MuonClip's second half.

    With S_h the largest logit of head h in the step's batch, and U what the chain before this made,

        γ_h = min(1, τ/S_h),  W ← √γ_h (W + U)

    for what makes the head's queries and keys, kernels and biases, so that logits of the same batch would end
    at τ. Nothing else changes. The last link of a chain, weight decay included. (arXiv:2507.20534)

    `update` takes `max_logits`, a tree that has beside the layers of each attention an array of its heads'
    largest logits: {"block_0": {"max_logits": (heads,)}} for "block_0/query/kernel", "block_0/qkv/kernel" and
    the like; or a function without arguments that makes it, as `workloads.train` hands over. An empty tree is
    that of a model without attention. That of `workloads.Transformer` comes from `apply(…,
    mutable="intermediates")`.

    Args:
      threshold: τ.

    Raises:
      ValueError: τ is not positive; or, in an update, params or `max_logits` are missing, or beside one of
        these there is no layer of queries or keys whose outputs its heads divide.
    """
    check_positive("threshold", threshold)

    def update(updates, state, params=None, *, max_logits=None, **extra):
        if params is None or max_logits is None:
            raise ValueError("qk_clip needs params and max_logits: call update(…, params, max_logits=…)")
        largest = max_logits() if callable(max_logits) else max_logits
        factors = _factors(params, largest, threshold)

        def clipped(key_path, step, weight):
            if (factor := factors.get(leaf_path(key_path))) is None:
                return step
            return (factor * jnp.asarray(step) - (1 - factor) * jnp.asarray(weight)).astype(step.dtype)

        return jax.tree_util.tree_map_with_path(clipped, updates, params), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def _factors(params: PyTree, max_logits: PyTree, threshold: ArrayLike) -> Mapping[str, Float[Array, "..."]]:
    """√γ of every number of a leaf, by the leaf's path."""
    factors = {}
    for place, largest in leaves_by_path(max_logits).items():
        module = place.rpartition("/")[0]
        roots = jnp.sqrt(threshold / jnp.maximum(widened(jnp.asarray(largest)), threshold))
        layers = {
            path: leaf
            for path, leaf in leaves_by_path(params).items()
            if path.startswith(f"{module}/" if module else "") and _reads(path.removeprefix(f"{module}/"))
        }
        if not layers:
            raise ValueError(f"max_logits: beside {place} there is no layer of queries or keys")
        factors |= {path: _factor(path, leaf, roots) for path, leaf in layers.items()}
    return factors


def _reads(path: str) -> bool:
    """Whether a leaf below an attention, such as "query/kernel" or "wq", makes its queries or keys."""
    layer = words(path)[0]
    return path.count("/") < 2 and bool(_QUERY_OR_KEY.search(layer) or _FUSED.search(layer))


def _factor(path: str, leaf: Array, roots: Float[Array, "heads"]) -> Float[Array, "..."]:
    """That of a leaf whose last axes are its outputs, by head: (heads, channels), or one axis of both."""
    names = words(path)
    inputs = leaf.shape[: names[-1] != "bias"]
    outputs = leaf.shape[len(inputs) :]
    copies = 3 if any(_FUSED.search(name) for name in names[-2:]) else 1
    channels, rest = divmod(math.prod(outputs), copies * len(roots))
    if rest:
        raise ValueError(f"{path}: {len(roots)} heads do not divide the outputs {outputs}")
    by_head = jnp.repeat(roots, channels)
    kept = jnp.ones_like(by_head)
    factors = jnp.concatenate([by_head, by_head, kept] if copies == 3 else [by_head])
    return factors.reshape(*(1 for _ in inputs), *outputs)
