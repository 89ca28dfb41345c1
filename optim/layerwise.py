"""Sign or spectral descent, chosen leaf by leaf while training."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Int, PyTree

from geometry import PolarMethod, polar_method
from geometry.matrices import leaf_path, leaves_by_path, tree_shapes
from optim.leaves import tell_matrices
from optim.method import matrix_method, with_arguments_of
from optim.momentum import MomentumState, scale_by_momentum
from optim.options import check_choice, check_number
from optim.routing import BY_NAME, Kind, Routing
from optim.scales import SCALES
from optim.sharding import call_in_auto_mode
from optim.spectral import polar_factors
from optim.state import beside_params

GeometryName = Literal["sign", "spectral"]


@dataclass(frozen=True)
class Choice:
    """When and by what a leaf changes its geometry.

    Attributes:
      index: (gradients, **extra) → a tree shaped as the gradients with a scalar for every leaf, the log
        ratio of what spectral and sign descent gain: positive for spectral, negative for sign; NaN or 0
        leaves things as they are, such as `NoiseIndex`. `extra` is what the caller hands to `update` by
        keyword, such as part gradients to measure the noise by.
      every: steps from one look at the index to the next; the first is after as many steps.
      lock: whether a leaf that has changed once keeps its new geometry for good.
      initial: the geometry that all leaves start with.
      kinds: leaves of which kinds may change; hidden matrices that may not are spectral for ever.
    """

    index: Callable[..., PyTree]
    every: int = 100
    lock: bool = True
    initial: GeometryName = "spectral"
    kinds: tuple[Kind, ...] = ("embed", "head")

    def __post_init__(self):
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")
        check_choice("initial", self.initial, get_args(GeometryName))
        for kind in self.kinds:
            check_choice("kinds", kind, ("hidden", "embed", "head"))


class SpecSignState(NamedTuple):
    """The running average; and of every leaf that may change, by path, whether it is spectral, and locked."""

    count: Int[Array, ""]
    average: MomentumState | optax.EmptyState
    spectral: dict[str, Bool[Array, ""]]
    locked: dict[str, Bool[Array, ""]]


def scale_by_spec_sign(
    choice: Choice,
    momentum: ArrayLike = 0.95,
    *,
    nesterov: bool = True,
    polar: str | PolarMethod = "polar_express",
    scale: str | None = "rms",
    sign_scale: ArrayLike = 0.2,
    routing: Routing = BY_NAME,
    momentum_dtype: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Momentum, then its polar factor or its sign, leaf by leaf as an index of the gradients says.

    Every `choice.every` steps the index is computed and each leaf that may change takes the geometry of its
    sign, all inside the compiled step. A leaf computes the direction it uses and not the
    other, except under `vmap`, where a branch on mapped state becomes a select of both.

    Args:
      choice: which leaves may change, when, and by what.
      momentum: β in [0, 1).
      nesterov: whether the direction is of (1 - β)G + βM.
      polar: how the polar factor is computed; see `scale_by_polar`.
      scale: the shape scale of spectral leaves; "rms" gives both geometries the same root mean square.
      sign_scale: the factor of sign leaves.
      routing: which kind leaves are, and how they are seen as matrices.
      momentum_dtype: the name of the dtype to keep M in; the gradient's own when None.

    Raises:
      ValueError: an option is outside what it may be; or, at init, a leaf has no matrix view, or none of
        the leaves may change.
    """
    check_choice("scale", scale, SCALES)
    check_number("sign_scale", sign_scale, 0)
    method = polar_method(polar)
    average = scale_by_momentum(momentum, nesterov=nesterov, dtype=momentum_dtype)

    def may_change(tree):
        return [p for p, shape in tree_shapes(tree).items() if routing.route(p, shape).kind in choice.kinds]

    def polar_of(tree):
        return polar_factors(tree, method, scale, routing)

    def sign_of(tree):
        return jax.tree.map(lambda leaf: sign_scale * jnp.sign(leaf), tree)

    def directions(tree, spectral):
        chosen = {path: _only(tree, {path}) for path in spectral}
        trees = [jax.lax.cond(spectral[path], polar_of, sign_of, leaf) for path, leaf in chosen.items()]
        return _merged(tree, [polar_of(_without(tree, set(spectral))), *trees])

    def changed(gradients, state, extra):
        paths = set(state.spectral)
        index = _by_path(choice.index(_only(gradients, paths), **extra), paths)
        spectral, locked = {}, {}
        for path, was in state.spectral.items():
            change = jnp.where(was, index[path] < 0, index[path] > 0) & ~state.locked[path]
            spectral[path] = was ^ change
            locked[path] = state.locked[path] | (change & choice.lock)
        return spectral, locked

    def init(params):
        tell_matrices(params, routing, scale)
        paths = may_change(params)
        if not paths and jax.tree.leaves(params):
            raise ValueError(f"kinds must be those of some leaves, but none is {list(choice.kinds)}")
        return SpecSignState(
            jnp.zeros([], jnp.int32),
            average.init(params),
            beside_params({path: jnp.asarray(choice.initial == "spectral") for path in paths}, params),
            beside_params({path: jnp.asarray(False) for path in paths}, params),
        )

    def update(updates, state, params=None, **extra):
        if not jax.tree.leaves(updates):
            return updates, state
        look = (state.count > 0) & (state.count % choice.every == 0)
        spectral, locked = jax.lax.cond(
            look, lambda: changed(updates, state, extra), lambda: (state.spectral, state.locked)
        )
        averaged, average_state = average.update(updates, state.average)
        direction = call_in_auto_mode(directions, averaged, spectral, like=averaged)
        count = optax.safe_increment(state.count)
        return direction, SpecSignState(count, average_state, spectral, locked)

    return optax.GradientTransformationExtraArgs(init, update)


@with_arguments_of(matrix_method)
def spec_sign(
    learning_rate: optax.ScalarOrSchedule,
    momentum: ArrayLike = 0.95,
    *,
    choice: Choice,
    nesterov: bool = True,
    polar: str | PolarMethod = "polar_express",
    scale: str | None = "rms",
    sign_scale: ArrayLike = 0.2,
    routing: Routing = BY_NAME,
    momentum_dtype: str | None = None,
    **shared: Any,
) -> optax.GradientTransformationExtraArgs:
    """Spectral or sign descent with momentum on every matrix, as an index of its gradients says.

    Hidden matrices, embeddings and the head descend by `scale_by_spec_sign`, vectors and scalars by the
    fallback. See `Choice` for what may change and when, `muon` for the other arguments, and both
    `muon` and `signum` for what a gradient does that is not finite.

    Raises:
      ValueError: an option is outside what it may be; or, at init, no rule covers a leaf.
    """
    direction = scale_by_spec_sign(
        choice,
        momentum,
        nesterov=nesterov,
        polar=polar,
        scale=scale,
        sign_scale=sign_scale,
        routing=routing,
        momentum_dtype=momentum_dtype,
    )
    kinds = ("hidden", "embed", "head")
    return matrix_method((direction,), learning_rate, kinds, routing=routing, **shared)


def _only(tree: PyTree, paths: Collection[str]) -> PyTree:
    """The tree with None in place of all leaves but these, so that every leaf keeps its path."""
    return jax.tree_util.tree_map_with_path(lambda p, leaf: leaf if leaf_path(p) in paths else None, tree)


def _without(tree: PyTree, paths: Collection[str]) -> PyTree:
    return jax.tree_util.tree_map_with_path(lambda p, leaf: None if leaf_path(p) in paths else leaf, tree)


def _by_path(tree: PyTree, paths: Collection[str]) -> dict[str, ArrayLike]:
    leaves = leaves_by_path(tree)
    missing = [path for path in paths if path not in leaves]
    if missing:
        raise ValueError(f"index: it must give a scalar for every leaf, but lacks {', '.join(missing)}")
    return leaves


def _merged(like: PyTree, parts: Sequence[PyTree]) -> PyTree:
    """One tree from parts of it, each leaf from the part that has it."""
    leaves = {path: leaf for part in parts for path, leaf in leaves_by_path(part).items()}
    return jax.tree_util.tree_map_with_path(lambda path, _: leaves[leaf_path(path)], like)
