"""What a parameter is, as rules say it."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from geometry.matrices import MatrixView

Kind = Literal["hidden", "embed", "head", "other"]


class Route(NamedTuple):
    """What a leaf is.

    Attributes:
      kind: "hidden" matrix, "embed"ding, output "head", or "other", such as a vector.
      view: how it is seen as matrices; None where it is not, in "other" alone.
    """

    kind: Kind
    view: MatrixView | None = None


Rule = Callable[[str, tuple[int, ...]], Route | None]
