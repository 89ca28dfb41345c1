"""What an optimizer does with each parameter of a model, as a table."""

import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from geometry.matrices import MatrixView, tree_shapes
from optim.placement import Placement
from optim.plan import Facts, heard
from optim.step import StepState

_FAN_OUT_FIRST = re.compile(r"(^|/)weight(_[ih]h)?$")
HEADINGS = ("leaf", "shape", "route", "matrices", "scale", "learning rate", "decay")
BATCH_HEADINGS = ("batch", "a device", "MFLOPs", "of all", "collectives", "MB to a device", "at least")


class LeafPlan(NamedTuple):
    """What becomes of one leaf; None where no transformation said anything about it.

    Attributes:
      path: the names from the root to the leaf.
      shape: the leaf's.
      route: "hidden", "embed", "head" or "other".
      view: how it is seen as matrices.
      scales: the shape scale of each block.
      learning_rates: η times each shape scale.
      decay: the fraction of a weight that a step removes.
    """

    path: str
    shape: tuple[int, ...]
    route: str | None
    view: MatrixView | None
    scales: tuple[float, ...]
    learning_rates: tuple[float, ...] | None
    decay: float | None

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.path,
            _sizes(self.shape),
            self.route or "–",
            "–" if self.view is None else _matrices(self.view, self.shape),
            _numbers(self.scales if self.view else ()),
            _numbers(self.learning_rates or ()),
            _numbers(() if self.decay is None else (self.decay,)),
        )


@dataclass(frozen=True)
class Description:
    """The plan of every leaf, and of every batch of equal matrices on a mesh; printed as tables."""

    leaves: tuple[LeafPlan, ...]
    batches: tuple[Placement, ...] = ()

    def __str__(self) -> str:
        leaves = _table([HEADINGS, *(leaf.cells for leaf in self.leaves)])
        if not self.batches:
            return leaves
        return f"{leaves}\n\n{_table([BATCH_HEADINGS, *map(_batch_cells, self.batches)])}"


def describe(
    tx: optax.GradientTransformation, params: PyTree, state: optax.OptState | None = None
) -> Description:
    """Say, leaf by leaf, what the transformations of this package in `tx` do with a model's parameters.

    They tell it while `tx.init` is traced, so they may sit anywhere inside `optax.chain`, `optax.partition`,
    `optax.MultiSteps` or `optax.inject_hyperparams`.

    Args:
      tx: the whole optimizer.
      params: the parameters, or `jax.ShapeDtypeStruct`s of them; nothing of their size is computed.
      state: the optimizer's state, for the rates of its last step; those of the first step when None.

    Warns:
      UserWarning: hidden matrices were told apart, but no leaf was recognised as the output head; then the
        head is among them unless there is none. Or weights have names of Equinox or PyTorch, which keep them
        as (out, in), and are seen fan-in first.
    """
    rates = _first_rates(tx, params) if state is None else _rates(state)
    facts: dict[str, dict[str, Any]] = {path: {"shape": shape} for path, shape in tree_shapes(params).items()}
    of_leaves, batches = _told(tx, params)
    for told in of_leaves:
        for path, fields in told.items():
            facts[path].update(fields)
    for fields in facts.values():
        if fields.get("step") is not None:
            eta, delta = rates[fields["step"]]
            fields.update(learning_rate=float(eta), decay=float(delta) if fields["decays"] else 0.0)
    leaves = tuple(_leaf_plan(path, fields) for path, fields in facts.items())
    description = Description(leaves, tuple(batches))
    for message in _doubts(description.leaves):
        warnings.warn(f"describe: {message}", stacklevel=2)
    return description


def _doubts(leaves: Sequence[LeafPlan]) -> Iterator[str]:
    """What may have been taken for something else."""
    routes = {leaf.route for leaf in leaves}
    if "hidden" in routes and "head" not in routes:
        yield (
            "no leaf was recognised as the output head, which a hidden-matrix method does not suit; name it"
            " `head`, or give a Routing whose rule knows it"
        )
    foreign = [
        leaf.path
        for leaf in leaves
        if leaf.view and leaf.view.rows < leaf.view.columns and _FAN_OUT_FIRST.search(leaf.path)
    ]
    if foreign:
        yield (
            f"{', '.join(foreign)}: Equinox and PyTorch keep what they call weight as (out, in), and here it"
            " is seen fan-in first; for an Equinox model give optim.equinox_routing(model)"
        )


def _leaf_plan(path: str, fields: dict[str, Any]) -> LeafPlan:
    scales = fields.get("scale", (1.0,))
    rate = fields.get("learning_rate")
    return LeafPlan(
        path,
        fields["shape"],
        fields.get("route"),
        fields.get("view"),
        scales,
        None if rate is None else tuple(rate * scale for scale in scales),
        fields.get("decay"),
    )


def _told(tx: optax.GradientTransformation, params: PyTree) -> tuple[list[Facts], list[Placement]]:
    """What the transformations tell of leaves, where in place of the state of its last step that one's place
    in the tree stands, and of batches."""
    of_leaves, batches = [], []

    def init(params):
        with heard() as facts, jax.disable_jit():  # or an `init` that was compiled before would tell nothing
            places = {id(step): place for place, step in enumerate(_steps(tx.init(params)))}
        for told in facts:
            if isinstance(told, Placement):
                batches.append(told)
            else:
                of_leaves.append({path: _placed(fields, places) for path, fields in told.items()})

    jax.eval_shape(init, params)
    return of_leaves, batches


def _placed(fields: Mapping[str, Any], places: Mapping[int, int]) -> dict[str, Any]:
    return {**fields, "step": places.get(id(fields["step"]))} if "step" in fields else dict(fields)


def _steps(state: PyTree) -> list[StepState]:
    found = jax.tree.leaves(state, is_leaf=lambda node: isinstance(node, StepState))
    return [node for node in found if isinstance(node, StepState)]


def _rates(state: PyTree) -> list[tuple[Any, Any]]:
    return [(step.eta, step.delta) for step in _steps(state)]


def _first_rates(tx: optax.GradientTransformation, params: PyTree) -> list[tuple[Any, Any]]:
    """The rates of a fresh state, of which the compiler drops everything else."""

    @jax.jit
    def rates():
        return _rates(tx.init(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), params)))

    return rates()


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _batch_cells(placement: Placement) -> tuple[str, ...]:
    return (
        " + ".join(f"{count} of {_sizes(shape)}" for count, shape in placement.batches),
        placement.owned,
        f"{placement.flops / 1e6:.3g}",
        f"{placement.share:.0%}",
        str(placement.collectives),
        f"{placement.received / 1e6:.3g}",
        f"{placement.least / 1e6:.3g}",
    )


def _matrices(view: MatrixView, shape: tuple[int, ...]) -> str:
    return " + ".join(
        (f"{count} of " if count > 1 else "") + _sizes((rows, columns))
        for count, rows, columns in view.matrix_shapes(shape)
    )


def _sizes(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "scalar"


def _numbers(values: Iterable[float]) -> str:
    return " ".join("∞" if math.isinf(value) else f"{value:.4g}" for value in values) or "–"
