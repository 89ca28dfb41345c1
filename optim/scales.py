"""Factors that make one learning rate serve matrices of all shapes."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from geometry.matrices import MatrixView

SHAPE_SCALES: Mapping[str, Callable[[int, int], float]] = MappingProxyType(
    {
        # of a matrix fan_in × fan_out
        "width": lambda fan_in, fan_out: math.sqrt(max(1, fan_out / fan_in)),  # K. Jordan's Muon, 2024
        "rms": lambda fan_in, fan_out: 0.2 * math.sqrt(max(fan_in, fan_out)),  # Moonlight, arXiv:2502.16982
        "fan_ratio": lambda fan_in, fan_out: math.sqrt(fan_out / fan_in),  # Dion, arXiv:2504.05295
    }
)


SCALES: tuple[str | None, ...] = (*SHAPE_SCALES, None)


def shape_scales(name: str | None, view: MatrixView, shape: tuple[int, ...]) -> tuple[float, ...]:
    """The factor of each block of a tensor; 1 when `name` is None, and for an empty matrix.

    "width" is √max(1, out/in), "rms" 0.2·√max(in, out), which gives an orthogonal update the root mean
    square of AdamW's, "fan_ratio" √(out/in).

    >>> shape_scales("rms", MatrixView((0,), (1,)), (100, 25))
    (2.0,)
    """
    return tuple(
        1.0 if name is None or rows * columns == 0 else SHAPE_SCALES[name](rows, columns)
        for _, rows, columns in view.matrix_shapes(shape)
    )
