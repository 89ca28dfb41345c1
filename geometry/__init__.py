"""What a gradient looks like: norms, their duals, and the directions of steepest descent."""

from geometry.norms import EUCLIDEAN, SIGN, SPECTRAL, Geometry, ky_fan
from geometry.polar_factor import (
    METHODS,
    PRESETS,
    SVD,
    NewtonSchulz,
    PolarExpress,
    PolarMethod,
    polar,
    polar_method,
)

__all__ = [
    "EUCLIDEAN",
    "METHODS",
    "PRESETS",
    "SIGN",
    "SPECTRAL",
    "SVD",
    "Geometry",
    "NewtonSchulz",
    "PolarExpress",
    "PolarMethod",
    "ky_fan",
    "polar",
    "polar_method",
]
