"""Which parameter gets what: a rule over paths and shapes, and its use to partition a model."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, get_args

import jax
import optax
from jaxtyping import PyTree

from geometry.matrices import MatrixView, leaf_path, tree_shapes
from optim.options import check_choice
from optim.plan import tell

Kind = Literal["hidden", "embed", "head", "other"]
Heads = Literal["flattened", "separate"]

_VECTORS = frozenset({"bias", "scale"})  # vectors, also where attention shapes them (heads, dim)
_EMBEDDING = re.compile(r"embed|^w[tp]e$|^emb$")
_HEAD = re.compile(r"^head$|_head$|^unembed")
_READS_HEADS = re.compile(r"^(query|key|value|[qkv]_proj)$")  # (in, heads, dim)
_WRITES_HEADS = re.compile(r"^(out|out_proj|o_proj)$")  # (heads, dim, out)


class Route(NamedTuple):
    """What a leaf is.

    Attributes:
      kind: "hidden" matrix, "embed"ding, output "head", or "other", such as a vector.
      view: how it is seen as matrices; None where it is not, in "other" alone.
    """

    kind: Kind
    view: MatrixView | None = None


Rule = Callable[[str, tuple[int, ...]], Route | None]


def by_name(
    path: str,
    shape: tuple[int, ...],
    *,
    heads: Heads = "flattened",
    fused: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
) -> Route | None:
    """The route of a leaf by Flax's names; None where they do not tell.

    Vectors, scalars, and whatever is called bias or scale are "other". A path with a component that
    contains "embed" is an embedding, one with a component `head` or `…_head` the output head. Other 2-D
    leaves are hidden matrices, fan-in first. Convolution kernels (…, in, out) are the matrix (…·in, out);
    attention kernels (in, heads, dim) and (heads, dim, out) are one matrix, or one for each head. Any other
    leaf of three axes or more, such as layers stacked by a scan, is for a rule of the user's own.

    >>> by_name("block_0/query/kernel", (64, 4, 16), heads="separate").view
    MatrixView(rows=(0,), columns=(2,), batch=(1,), blocks=())
    >>> by_name("block_0/qkv/kernel", (64, 96), fused={"qkv": (64, 16, 16)}).view.blocks
    (64, 16, 16)

    Args:
      path: the names from the root to the leaf, joined by "/".
      shape: the leaf's.
      heads: attention heads "flattened" into one matrix, or "separate".
      fused: by the name of a layer whose columns hold several matrices, their sizes.
    """
    check_choice("heads", heads, get_args(Heads))
    *modules, name = path.lower().split("/")
    if len(shape) < 2 or name in _VECTORS:
        return Route("other")
    view = _view(modules, shape, heads, fused)
    if view is None:
        return None
    names = (*modules, name)
    if any(_HEAD.search(n) for n in names):
        return Route("head", view)
    return Route("embed" if any(_EMBEDDING.search(n) for n in names) else "hidden", view)


def _view(
    modules: list[str], shape: tuple[int, ...], heads: Heads, fused: Mapping[str, tuple[int, ...]]
) -> MatrixView | None:
    layer = modules[-1] if modules else ""
    last = len(shape) - 1
    if last == 1:
        return MatrixView((0,), (1,), blocks=tuple(fused.get(layer, ())))
    if _READS_HEADS.match(layer):
        separate, flattened = MatrixView((0,), (2,), batch=(1,)), MatrixView((0,), (1, 2))
    elif _WRITES_HEADS.match(layer):
        separate, flattened = MatrixView((1,), (2,), batch=(0,)), MatrixView((0, 1), (2,))
    else:
        convolution = last >= 3 or "conv" in layer
        return MatrixView(tuple(range(last)), (last,)) if convolution else None
    if last != 2:
        return None
    return separate if heads == "separate" else flattened


@dataclass(frozen=True)
class Routing:
    """A rule, with errors for the leaves it does not cover.

    An object and not the bare function, so that `optax.inject_hyperparams` does not take it for a schedule.

    >>> from geometry import PLAIN
    >>> from optim import Route, by_name
    >>> def rule(path, shape):
    ...     return Route("head", PLAIN) if path == "readout/kernel" else by_name(path, shape)
    >>> Routing(rule).route("readout/kernel", (64, 10)).kind
    'head'
    """

    rule: Rule = by_name

    def route(self, path: str, shape: tuple[int, ...]) -> Route:
        """The leaf's route. Raises ValueError, naming the leaf, where the rule has none that fits it."""
        route = self.rule(path, tuple(shape))
        if route is None:
            raise ValueError(
                f"{path}: no rule covers this leaf of shape {tuple(shape)}. Give a Routing whose rule does."
            )
        check_choice(f"{path}: the kind of its route", route.kind, get_args(Kind))
        if route.view is not None:
            route.view.check(path, shape)
        elif route.kind != "other":
            raise ValueError(f"{path}: a route of kind {route.kind!r} needs a view, got None")
        return route

    def optional_view(self, path: str, shape: tuple[int, ...]) -> MatrixView | None:
        """How the leaf is seen as matrices, None where it is not; a `ViewRule` of `geometry.Moments`."""
        return self.route(path, shape).view

    def view(self, path: str, shape: tuple[int, ...]) -> MatrixView:
        """How the leaf is seen as matrices. Raises ValueError, naming the leaf, where it is not."""
        view = self.optional_view(path, shape)
        if view is None:
            raise ValueError(
                f"{path}: a leaf of shape {tuple(shape)} has no matrix view; keep it away with optim.routed"
            )
        return view

    def views(self, tree: PyTree) -> dict[str, MatrixView]:
        """The view of every leaf by path, in the tree's order. Raises ValueError as `view` does."""
        return {path: self.view(path, shape) for path, shape in tree_shapes(tree).items()}


BY_NAME = Routing()


def routed(
    matrices: optax.GradientTransformation,
    others: optax.GradientTransformation,
    routing: Routing = BY_NAME,
    *,
    kinds: tuple[Kind, ...] = ("hidden",),
) -> optax.GradientTransformationExtraArgs:
    """Update the leaves of the given kinds by `matrices`, all other leaves by `others`.

    Raises ValueError, at init, for a leaf that the routing does not cover.
    """

    def label(path, leaf):
        return "matrices" if routing.route(leaf_path(path), leaf.shape).kind in kinds else "others"

    def routes(params):
        return {
            path: {"shape": tuple(shape), "route": routing.route(path, shape).kind}
            for path, shape in tree_shapes(params).items()
        }

    def labels(tree):
        return jax.tree_util.tree_map_with_path(label, tree)

    partition = optax.partition({"matrices": matrices, "others": others}, labels)

    def init(params):
        tell(routes(params))
        return partition.init(params)

    return optax.GradientTransformationExtraArgs(init, partition.update)
