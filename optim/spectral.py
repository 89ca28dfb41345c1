"""Spectral descent: the polar factor of the gradient, or of its momentum (Muon)."""

from typing import Any

import optax
from jax.typing import ArrayLike
from jaxtyping import PyTree

from geometry import GramMethod, PolarMethod, polar_method
from optim.leaves import on_matrices, tell_matrices
from optim.method import matrix_method, with_arguments_of
from optim.momentum import scale_by_momentum
from optim.options import check_choice
from optim.plan import rehearse
from optim.routing import BY_NAME, Routing
from optim.scales import SCALES
from optim.sharding import Shards, call_in_auto_mode


def scale_by_polar(
    polar: str | PolarMethod = "polar_express", *, scale: str | None = None, routing: Routing = BY_NAME
) -> optax.GradientTransformation:
    """Replace every leaf, seen as matrices, by its polar factor times a shape scale.

    All matrices of equal size are orthogonalised as one batch. Leaves may be sharded in any way, over Auto
    or Explicit mesh axes.

    Args:
      polar: "polar_express", "newton_schulz" or "svd", or one of these with its own options; see
        `geometry.polar`.
      scale: "width", "rms" or "fan_ratio" (see `shape_scales`), or None for no scale.
      routing: how leaves are seen as matrices; which kind they are does not matter here.

    Raises:
      ValueError: a name is unknown; or, at init, a leaf has no matrix view.
    """
    check_choice("scale", scale, SCALES)
    method = polar_method(polar)

    def factors(tree):
        return polar_factors(tree, method, scale, routing)

    def step(updates):
        return call_in_auto_mode(factors, updates, like=updates)

    def init(params):
        tell_matrices(params, routing, scale)
        rehearse(step, params)
        return optax.EmptyState()

    def update(updates, state, params=None):
        return step(updates), state

    return optax.GradientTransformation(init, update)


def polar_factors(tree: PyTree, method: PolarMethod, scale: str | None, routing: Routing) -> PyTree:
    """The polar factor of every leaf times its shape scale, equal matrices as one batch."""
    shards = None
    if isinstance(method, GramMethod) and method.gram_sums:
        shards = Shards(lambda part, axes: (method.factor_of_shards(part, axes),), method.gram_sums)
    (factors,) = on_matrices(
        lambda stack: (method.factor(stack),), tree, routing=routing, scales=(scale,), shards=shards
    )
    return factors


@with_arguments_of(matrix_method)
def spectral_descent(
    learning_rate: optax.ScalarOrSchedule,
    *,
    polar: str | PolarMethod = "polar_express",
    scale: str | None = "width",
    routing: Routing = BY_NAME,
    **shared: Any,
) -> optax.GradientTransformationExtraArgs:
    """Muon without momentum: W ← W - η · scale · polar(G) on hidden matrices; see `muon`.

    Of a G that is not finite, nothing is remembered but by the fallback.
    """
    return muon(learning_rate, 0.0, nesterov=False, polar=polar, scale=scale, routing=routing, **shared)


@with_arguments_of(matrix_method)
def muon(
    learning_rate: optax.ScalarOrSchedule = 0.02,
    momentum: ArrayLike = 0.95,
    *,
    nesterov: bool = True,
    polar: str | PolarMethod = "polar_express",
    scale: str | None = "width",
    routing: Routing = BY_NAME,
    momentum_dtype: str | None = None,
    **shared: Any,
) -> optax.GradientTransformationExtraArgs:
    """Muon (K. Jordan, 2024): the polar factor of the momentum on hidden matrices, a fallback elsewhere.

    M ← βM + (1 - β)G, D = polar((1 - β)G + βM), W ← W - η · scale · D - δ W.

    Embeddings, the output head, vectors and scalars go to the fallback. `optim.describe` shows which leaf
    went where, and at which rate.

    A G that is not finite makes NaN of its whole matrix, and stays in M for good; `optax.apply_if_finite`
    around this leaves such steps out.

    Args:
      learning_rate: η, a number or a schedule.
      momentum: β in [0, 1).
      nesterov: whether D is taken of (1 - β)G + βM, or of M.
      polar: how the polar factor is computed; see `scale_by_polar`.
      scale: factor for the matrix's shape: "width", "rms", "fan_ratio" or None; see `shape_scales`.
      weight_decay: λ of the matrices; see `Decay` for what it is multiplied with.
      decay: how the decay follows the learning rate, and which leaves it spares.
      fallback: direction for all other leaves, such as `optax.scale_by_lion()`; Adam's by default.
      fallback_learning_rate: its η; that of the matrices when None.
      fallback_weight_decay: its λ.
      routing: which leaves are hidden matrices, and how they are seen as matrices.
      momentum_dtype: the name of the dtype to keep M in; the gradient's own when None.

    Raises:
      ValueError: an option is outside what it may be; or, at init, no rule covers a leaf.
    """
    return matrix_method(
        (
            scale_by_momentum(momentum, nesterov=nesterov, dtype=momentum_dtype),
            scale_by_polar(polar, scale=scale, routing=routing),
        ),
        learning_rate,
        routing=routing,
        **shared,
    )
