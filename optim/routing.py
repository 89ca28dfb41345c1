"""Which parameter gets what: a rule over paths and shapes, and its use to partition a model."""

import warnings
from dataclasses import dataclass
from typing import get_args

import jax
import optax
from jaxtyping import PyTree

from geometry.matrices import MatrixView, leaf_path, tree_shapes
from optim.flax_names import by_name
from optim.options import check_choice
from optim.plan import tell
from optim.route import Kind, Route, Rule


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
                f"{path}: no rule covers this leaf of shape {tuple(shape)}. Give a Routing whose rule does,"
                " such as by_name with the names of your stacks in `stacked`."
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

    Raises:
      ValueError: at init, the routing does not cover a leaf.

    Warns:
      UserWarning: at init, no leaf of a whole model is of these kinds, so that all of it goes to `others`.
        Under `optax.partition` and `optax.masked`, which hand over a part, that is as it should be.
    """

    def label(path, leaf):
        return "matrices" if routing.route(leaf_path(path), leaf.shape).kind in kinds else "others"

    def routes(params):
        found = {
            path: {"shape": tuple(shape), "route": routing.route(path, shape).kind}
            for path, shape in tree_shapes(params).items()
        }
        if found and not any(facts["route"] in kinds for facts in found.values()) and is_whole(params):
            warnings.warn(
                f"no leaf is {' or '.join(kinds)}, so that all {len(found)} take the fallback; does a"
                " transformation such as optax.flatten hide the matrices?",
                stacklevel=2,
            )
        return found

    def labels(tree):
        return jax.tree_util.tree_map_with_path(label, tree)

    partition = optax.partition({"matrices": matrices, "others": others}, labels)

    def init(params):
        tell(routes(params))
        return partition.init(params)

    return optax.GradientTransformationExtraArgs(init, partition.update)


def is_whole(params: PyTree) -> bool:
    """Whether no leaf was masked, as `optax.partition` does."""
    leaves = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    return not any(isinstance(leaf, optax.MaskedNode) for leaf in leaves)
