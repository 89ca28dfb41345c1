"""The routing of an Equinox model, by the types of its modules."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
from jaxtyping import PyTree

from geometry.matrices import MatrixView, leaf_path
from optim.roles import is_embedding, is_head, is_vector, words
from optim.route import Route
from optim.routing import Routing


def equinox_routing(model: PyTree) -> Routing:
    """A routing of the leaves of an Equinox model, which keeps weights as (out, in).

    The modules themselves say what their arrays are, which names do not: a weight of two axes is a matrix
    (fan-out, fan-in) in a `Linear`, a table in an `Embedding`, and none in a `LayerNorm`. A convolution's
    (out, in, …) is the matrix (in·…, out). Each gate of a `GRUCell` or an `LSTMCell` is a matrix. Axes that
    `equinox.filter_vmap` put in front count matrices. A layer is the output head where a name says so, as in
    `by_name`. Arrays of your own modules are "other" where they are vectors or called so, an embedding where
    their name says so, and otherwise an error, for a rule of your own around this one:

        known = optim.equinox_routing(model)

        def rule(path, shape):
            return optim.Route("other") if path == "class_token" else known.rule(path, shape)

        tx = optim.muon(0.02, routing=optim.Routing(rule))
        state = tx.init(equinox.filter(model, equinox.is_inexact_array))

    Args:
      model: the model, or its arrays alone.
    """
    routes = {}
    for key_path, module in jax.tree_util.tree_leaves_with_path(model, is_leaf=_is_known):
        if _is_known(module):
            for array_path, array in jax.tree_util.tree_leaves_with_path(module):
                if hasattr(array, "shape"):
                    path = leaf_path((*key_path, *array_path))
                    routes[path] = _route(module, path, len(array.shape))

    def rule(path: str, shape: tuple[int, ...]) -> Route | None:
        if path in routes:
            return routes[path]
        names = words(path)
        if len(shape) < 2 or is_vector(names):
            return Route("other")
        return Route("embed", _matrices(len(shape), fan_in_first=True)) if is_embedding(names) else None

    return Routing(rule)


def _route(module: Any, path: str, axes: int) -> Route:
    names = words(path)
    view = _VIEWS[_type_name(module)](module, axes) if names[-1].startswith("weight") else None
    if view is None:
        return Route("other")
    if _type_name(module) == "Embedding":
        return Route("embed", view)
    return Route("head" if is_head(names) else "hidden", view)


def _matrices(axes: int, *, fan_in_first: bool = False, blocks: tuple[int, ...] = ()) -> MatrixView:
    """The last two axes as matrices, the others counting them."""
    rows, columns = (axes - 2, axes - 1) if fan_in_first else (axes - 1, axes - 2)
    return MatrixView((rows,), (columns,), tuple(range(axes - 2)), blocks)


def _convolution(module: Any, axes: int) -> MatrixView:
    output_axis = axes - module.num_spatial_dims - 2
    return MatrixView(tuple(range(output_axis + 1, axes)), (output_axis,), tuple(range(output_axis)))


def _gates(count: int) -> Callable[[Any, int], MatrixView]:
    return lambda module, axes: _matrices(axes, blocks=count * (module.hidden_size,))


# how each module sees its weights; None where they are no matrices
_VIEWS: Mapping[str, Callable[[Any, int], MatrixView | None]] = MappingProxyType(
    {
        "Linear": lambda module, axes: _matrices(axes),
        "Conv": _convolution,
        "ConvTranspose": _convolution,
        "Embedding": lambda module, axes: _matrices(axes, fan_in_first=True),
        "GRUCell": _gates(3),
        "LSTMCell": _gates(4),
        **dict.fromkeys(("LayerNorm", "RMSNorm", "GroupNorm", "BatchNorm"), lambda module, axes: None),
    }
)


def _type_name(node: Any) -> str:
    """The name of the first of Equinox's types that a node is of, where its weights are known."""
    types = (kind for kind in type(node).__mro__ if kind.__module__.startswith("equinox.nn"))
    return next((kind.__name__ for kind in types if kind.__name__ in _VIEWS), "")


def _is_known(node: Any) -> bool:
    return _type_name(node) != ""
