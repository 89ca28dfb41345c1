"""The layers of a workload's model: its matrices, in the order in which figures and tables show them."""

from typing import NamedTuple

import jax

from geometry import MatrixView
from geometry.matrices import tree_shapes
from optim import by_name
from workloads import Workload

KINDS = ("embed", "hidden", "head")


class Layer(NamedTuple):
    """A leaf that is seen as matrices.

    Attributes:
      path: the leaf's.
      shape: the leaf's.
      kind: "embed", "hidden" or "head".
      view: how it is seen as matrices.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    view: MatrixView

    @property
    def name(self) -> str:
        """The path without what all leaves share."""
        return self.path.removeprefix("params/").removesuffix("/kernel").removesuffix("/embedding")


def layers_of(workload: Workload) -> tuple[Layer, ...]:
    """The matrices of the model that the workload trains: embeddings, hidden ones, the head."""
    shapes = tree_shapes(jax.eval_shape(workload.init, jax.random.key(0)))
    routes = {path: by_name(path, shape) for path, shape in shapes.items()}
    found = [
        Layer(path, shapes[path], route.kind, route.view) for path, route in routes.items() if route.view
    ]
    return tuple(sorted(found, key=lambda layer: KINDS.index(layer.kind)))
