"""Low-rank spectral descent with error feedback: Dion (arXiv:2504.05295) and Orth-Dion (arXiv:2605.16341)."""

import zlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from geometry.decompositions import by_matrix
from geometry.matrices import leaves_by_path
from geometry.orthonormal import polar_columns, range_basis, signed_qr
from geometry.precision import unit_peak
from optim.leaves import on_matrices, tell_matrices
from optim.method import ADAM, matrix_method, with_arguments_of
from optim.options import check_choice, check_number
from optim.plan import rehearse
from optim.ranks import rank_rule
from optim.routing import BY_NAME, Routing
from optim.scales import SCALES
from optim.sharding import call_in_auto_mode
from optim.state import beside_params
from optim.workers import own

Right = Literal["normalize", "qr", "polar"]

HEADROOM = 2.0**10  # sums and products of the largest gradients stay this much below the largest number


class LowRankState(NamedTuple):
    """What Dion remembers.

    Attributes:
      buffers: M / HEADROOM, error feedback and momentum in one, shaped as the parameters, in float32 or
        wider. The direction does not depend on the scale of M.
      warm_starts: by the path of every leaf, a tuple with V of each block, (matrices, long side, rank).
    """

    buffers: PyTree
    warm_starts: dict[str, tuple[Float[Array, "matrices long rank"], ...]]


def scale_by_dion(
    momentum: ArrayLike = 0.95,
    *,
    right: Right = "normalize",
    rank: ArrayLike | None = None,
    rank_fraction: ArrayLike = 0.25,
    rank_multiple: ArrayLike = 1,
    scale: str | None = None,
    routing: Routing = BY_NAME,
    seed: ArrayLike = 0,
    axis_name: str | None = None,
) -> optax.GradientTransformation:
    """A rank-r step towards the polar factor of the momentum, with what it misses fed back.

    For each matrix, turned to be wide (m ≤ n), with a buffer M and an n×r warm start V:

        M ← M + G,  U = QR(M V),  R = Mᵀ U,  M ← M - (1 - μ) U Rᵀ,  V ← right(R),  direction U Vᵀ.

    One power iteration a step: for a fixed M, U Vᵀ tends to the leading polar factor U_r V_rᵀ. At full rank
    M is heavy-ball momentum, M ← μM + G. Where M has rank below r, the missing directions contribute
    nothing; a zero buffer gives a zero update and keeps V.

    With `axis_name`, inside `shard_map`, each data-parallel rank keeps a buffer of its own gradients and
    only M V and Mᵀ U are averaged, (m + n) r numbers in place of m n. The update is that of the averaged
    gradients. Each rank's feedback is by its own R, so that what ranks disagree on fades with μ too.

    Args:
      momentum: μ in [0, 1).
      right: "normalize" the columns of R (Dion), or orthonormalise them (Orth-Dion) by "qr", with the sign
        that descends, or "polar".
      rank: r, cut to the matrix's smaller side; by `rank_fraction` when None.
      rank_fraction: r as a fraction of the smaller side, in (0, 1].
      rank_multiple: the r of a fraction is rounded up to a multiple of this.
      scale: factor for the matrix's shape; see `shape_scales`.
      routing: how leaves are seen as matrices.
      seed: of the random orthonormal start of V, which also depends on the leaf's path.
      axis_name: the mesh axis of the ranks, for the compressed form.

    Raises:
      ValueError: an option is outside what it may be; or, at init, a leaf has no matrix view.
    """
    check_number("momentum", momentum, 0, 1)
    check_choice("right", right, get_args(Right))
    check_choice("scale", scale, SCALES)
    rank_of = rank_rule(rank, rank_fraction, rank_multiple)

    def mean(x):
        return x if axis_name is None else jax.lax.pmean(x, axis_name)

    def dion(buffer, warm_start):
        left = range_basis(mean(buffer @ warm_start))
        local = buffer.mT @ left
        new_start = _right_factor(right, mean(local), warm_start)
        fed_back = buffer - ((1 - momentum) * left) @ local.mT
        return left @ new_start.mT, fed_back, new_start

    def init(params):
        buffers = jax.tree.map(
            lambda p: jnp.zeros_like(p, dtype=jnp.promote_types(p.dtype, jnp.float32)), params
        )
        tell_matrices(params, routing, scale)
        starts = _warm_starts(buffers, routing, rank_of, jax.random.key(seed))
        rehearse(in_auto_mode, params, buffers, starts)
        return LowRankState(own(buffers, axis_name), beside_params(starts, params))

    def step(updates, buffers, warm_starts):
        sums = jax.tree.map(lambda m, g: m + g.astype(m.dtype) / HEADROOM, buffers, updates)
        directions, fed_back, new_starts = on_matrices(
            dion, sums, warm_starts, routing=routing, scales=(scale, None)
        )
        return optax.tree.cast_like(directions, updates), fed_back, new_starts

    def in_auto_mode(*trees):
        return call_in_auto_mode(step, *trees, like=trees)

    def update(updates, state, params=None):
        directions, *kept = in_auto_mode(updates, state.buffers, state.warm_starts)
        return directions, LowRankState(*kept)

    return optax.GradientTransformation(init, update)


@with_arguments_of(matrix_method)
def _low_rank(
    right: Right,
    learning_rate: optax.ScalarOrSchedule,
    *,
    rank: ArrayLike | None = None,
    rank_fraction: ArrayLike = 0.25,
    rank_multiple: ArrayLike = 1,
    momentum: ArrayLike = 0.95,
    scale: str | None = "fan_ratio",
    routing: Routing = BY_NAME,
    seed: ArrayLike = 0,
    axis_name: str | None = None,
    fallback: optax.GradientTransformation = ADAM,
    **shared: Any,
) -> optax.GradientTransformationExtraArgs:
    direction = scale_by_dion(
        momentum,
        right=right,
        rank=rank,
        rank_fraction=rank_fraction,
        rank_multiple=rank_multiple,
        scale=scale,
        routing=routing,
        seed=seed,
        axis_name=axis_name,
    )
    averaged = fallback if axis_name is None else optax.chain(_mean_over(axis_name), fallback)
    return matrix_method((direction,), learning_rate, fallback=averaged, routing=routing, **shared)


@with_arguments_of(_low_rank)
def dion(learning_rate: optax.ScalarOrSchedule, **options: Any) -> optax.GradientTransformationExtraArgs:
    """Dion on hidden matrices, a fallback elsewhere: W ← W - η · scale · U Vᵀ - δ W.

    The columns of V are normalised and not orthogonalised, so the update's Frobenius norm is √r and its
    spectral norm anything from 1 to √r. See `scale_by_dion` for the method, `muon` for the other arguments.

    A gradient that is not finite makes NaN of its whole matrix, and stays in M for good;
    `optax.apply_if_finite` around this leaves such steps out.

    Its momentum swings for several times 1/(1 - μ) steps, in which the loss also rises:
    `optax.contrib.reduce_on_plateau` needs a patience of that length, such as 50 at μ = 0.95. At its default
    of 10 it takes the first swing for the end, as it does with `optax.sgd(momentum=0.95)`.

    With `axis_name` the gradients are those of one data-parallel rank, and the fallback averages its own;
    see `compressed_specs`.

    Raises:
      ValueError: an option is outside what it may be; or, at init, no rule covers a leaf.
    """
    return _low_rank("normalize", learning_rate, **options)


@with_arguments_of(_low_rank)
def orth_dion(
    learning_rate: optax.ScalarOrSchedule, *, right: Literal["qr", "polar"] = "qr", **options: Any
) -> optax.GradientTransformationExtraArgs:
    """Orth-Dion on hidden matrices: `dion` with an orthonormal V, so that all r singular values are 1.

    `right` says how V is orthonormalised: "qr" with the sign that descends, or "polar", the nearest
    orthonormal matrix. See `dion` for everything else.

    Raises:
      ValueError: an option is outside what it may be; or, at init, no rule covers a leaf.
    """
    check_choice("right", right, ("qr", "polar"))
    return _low_rank(right, learning_rate, **options)


def compressed_specs(state: PyTree, axis_name: str) -> PyTree:
    """PartitionSpecs of the optimizer state for `shard_map`, in the compressed form over `axis_name`.

    Each rank's buffers are joined along their leading axis; everything else is the same on all ranks.
    """

    def specs(node):
        if not isinstance(node, LowRankState):
            return PartitionSpec()
        replicated = jax.tree.map(lambda _: PartitionSpec(), node)
        return replicated._replace(buffers=jax.tree.map(lambda _: PartitionSpec(axis_name), node.buffers))

    return jax.tree.map(specs, state, is_leaf=lambda node: isinstance(node, LowRankState))


def _right_factor(
    right: Right, r: Float[Array, "matrices long rank"], previous: Float[Array, "matrices long rank"]
) -> Float[Array, "matrices long rank"]:
    """V from R; what R does not determine stays as it was."""
    if right == "normalize":
        scaled, _ = unit_peak(r, axis=(-2, -1))
        lengths = jnp.linalg.norm(scaled, axis=-2, keepdims=True)
        return jnp.where(lengths == 0, previous, scaled / jnp.where(lengths == 0, 1, lengths))
    orthonormal = signed_qr(r) if right == "qr" else polar_columns(r)
    empty = jnp.all(r == 0, axis=(-2, -1), keepdims=True)
    return jnp.where(empty, previous, orthonormal)


def _warm_starts(
    buffers: PyTree, routing: Routing, rank_of: Callable[[int], int], root: PRNGKeyArray
) -> dict[str, tuple[Float[Array, "matrices long rank"], ...]]:
    """Random orthonormal columns for every block of every leaf, from a key named after the leaf's path."""

    def start(key, dtype, matrices, *sides):
        gaussian = jax.random.normal(key, (matrices, max(sides), rank_of(min(sides))), dtype)
        return by_matrix(jnp.linalg.qr, gaussian)[0]

    leaves, starts = leaves_by_path(buffers), {}
    for path, view in routing.views(buffers).items():
        key, leaf = jax.random.fold_in(root, zlib.crc32(path.encode())), leaves[path]
        starts[path] = tuple(
            start(jax.random.fold_in(key, block), leaf.dtype, *sizes)
            for block, sizes in enumerate(view.matrix_shapes(leaf.shape))
        )
    return starts


def _mean_over(axis_name: str) -> optax.GradientTransformation:
    return optax.stateless(lambda updates, params: jax.lax.pmean(updates, axis_name))
