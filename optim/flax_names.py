"""The rule by Flax's names, and Haiku's: what a parameter is, from its path and shape."""

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal, get_args

from geometry.matrices import MatrixView
from optim.options import check_choice
from optim.roles import in_attention, is_embedding, is_head, is_vector, words
from optim.route import Route

Heads = Literal["flattened", "separate"]

# modules whose parameters are stacked along a leading axis: layers that are scanned, experts of a mixture
STACKED = (
    *("layers", "*_layers", "blocks", "*_blocks", "scan*", "vmap*", "*stack", "*layer_stack*"),
    *("expert", "experts", "*_experts", "wi", "wi_*", "wo"),
)

_MATRICES = frozenset({"kernel", "embedding"})  # what Flax calls these has two axes or more in each layer
_UNNAMED = _MATRICES | {"w", "weight", "embeddings"}  # called after their layer
_READS_HEADS = re.compile(r"^((query|key|value|[qkv])(_proj)?|w_?[qkv]|to_[qkv])$")  # (in, heads, dim)
_WRITES_HEADS = re.compile(r"^((out|output|o)(_proj)?|w_?o|to_out)$")  # (heads, dim, out)
_CONVOLUTION = re.compile(r"conv|patch")


def by_name(
    path: str,
    shape: tuple[int, ...],
    *,
    heads: Heads = "flattened",
    fused: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    stacked: Collection[str] = STACKED,
) -> Route | None:
    """The route of a leaf by Flax's or Haiku's names; None where they do not tell.

    "other" are vectors and scalars, and whatever is called bias, scale, offset, gamma or beta, is a
    normalisation's, or is a stack of what is called b. A name with "embed", or that ends in "emb", says
    embedding; `head`, `…_head`, `classifier`, `logits` and `unembed…` say output head, and so do `output` and
    `score` at the top level. All else is hidden, fan-in first:

    - a leaf of two axes is a matrix;
    - of three or more it is a convolution where its layer's name has "conv" or "patch" in it: (…, in, out) is
      the matrix (…·in, out);
    - in a layer called query, key, value or out (or q_proj, wq, o_proj and the like), (in, heads, dim) or
      (heads, dim, out) is one matrix, or one for each head;
    - below a name in `stacked`, leading axes count matrices, at most one for each such name. A name directly
      followed by an index, as in `layers/0/kernel`, is a list and no stack. Layers stacked along an axis
      that is not the first need a rule of your own.

    >>> by_name("block_0/query/kernel", (64, 4, 16), heads="separate").view
    MatrixView(rows=(0,), columns=(2,), batch=(1,), blocks=())
    >>> by_name("block_0/qkv/kernel", (64, 96), fused={"qkv": (64, 16, 16)}).view.blocks
    (64, 16, 16)
    >>> by_name("layers/experts/wi", (12, 8, 64, 256)).view
    MatrixView(rows=(2,), columns=(3,), batch=(0, 1), blocks=())
    >>> by_name("mlp/kernel", (12, 64, 256)) is None
    True

    Args:
      path: the names from the root to the leaf, joined by "/".
      shape: the leaf's.
      heads: attention heads "flattened" into one matrix, or "separate".
      fused: by the name of a layer whose columns hold several matrices, their sizes.
      stacked: patterns of names; `(*STACKED, "tower")` adds one, and `()` takes nothing for a stack.

    Names are compared in lower case with words joined by "_": QKVProj is "qkv_proj".
    """
    check_choice("heads", heads, get_args(Heads))
    names = words(path)
    stacks = _stacks(names, stacked)
    if len(shape) < 2 or is_vector(names, stacked=bool(stacks)):
        return Route("other")
    if len(shape) == 2 and any(stack < len(names) - 1 for stack in stacks) and names[-1] not in _MATRICES:
        return None  # a matrix of a container, or the vectors of a stack
    count = min(len(stacks), len(shape) - 2)
    layer = _layer(names, stacked)
    view = _view(layer, names[-1], len(shape) - count, heads, fused)
    if view is None:
        return None
    view = _behind(count, view)
    if is_head(names, stacked=bool(stacks)):
        return Route("head", view)
    multiplied = len(shape) - count > 2  # a convolution is not looked up
    return Route("embed" if is_embedding(names) and not multiplied else "hidden", view)


def _stacks(names: Sequence[str], stacked: Collection[str]) -> list[int]:
    """The places of the names that say stack."""
    return [
        place
        for place, name in enumerate(names)
        if _matches(name, stacked)
        and not any(n.isdigit() or _counts(n, stacked) for n in names[place + 1 : place + 2])
        and not (_WRITES_HEADS.match(name) and in_attention(names[:place]))  # `wo` of attention
    ]


def _matches(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _counts(name: str, stacked: Collection[str]) -> bool:
    """Whether a name is one of a list's, such as layers_0."""
    kind, _, number = name.rpartition("_")
    return number.isdigit() and _matches(kind, stacked) and not _matches(name, stacked)


def _layer(names: Sequence[str], stacked: Collection[str]) -> str:
    """The name of the leaf's layer: its own where it has one, or that of the module it is in."""
    *modules, name = names
    if name not in _UNNAMED:
        return name
    return next((n for n in reversed(modules) if not (n.isdigit() or _counts(n, stacked))), "")


def _view(
    layer: str, name: str, axes: int, heads: Heads, fused: Mapping[str, tuple[int, ...]]
) -> MatrixView | None:
    """How a leaf of that many axes is seen, were it not stacked."""
    last = axes - 1
    if last == 1:
        return MatrixView((0,), (1,), blocks=tuple(fused.get(layer, ())))
    if last == 2 and _READS_HEADS.match(layer):
        return MatrixView((0,), (2,), batch=(1,)) if heads == "separate" else MatrixView((0,), (1, 2))
    if last == 2 and _WRITES_HEADS.match(layer):
        return MatrixView((1,), (2,), batch=(0,)) if heads == "separate" else MatrixView((0, 1), (2,))
    if not _CONVOLUTION.search(layer):
        return None
    if name == "w" and "transpose" in layer:  # Haiku's, with the outputs before the inputs
        return MatrixView((*range(last - 1), last), (last - 1,))
    return MatrixView(tuple(range(last)), (last,))


def _behind(count: int, view: MatrixView) -> MatrixView:
    """The same view of the axes that follow `count` axes of matrices."""
    rows, columns, batch = (
        tuple(axis + count for axis in axes) for axes in (view.rows, view.columns, view.batch)
    )
    return MatrixView(rows, columns, (*range(count), *batch), view.blocks)
