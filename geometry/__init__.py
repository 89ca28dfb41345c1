"""What a gradient looks like: norms, their duals, and the directions of steepest descent."""

from geometry.matrices import PLAIN, MatrixView, plain_matrices
from geometry.moments import Moments, noise_scale
from geometry.noise import NoiseScale, c4
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
    "PLAIN",
    "PRESETS",
    "SIGN",
    "SPECTRAL",
    "SVD",
    "Geometry",
    "MatrixView",
    "Moments",
    "NewtonSchulz",
    "NoiseScale",
    "PolarExpress",
    "PolarMethod",
    "c4",
    "ky_fan",
    "noise_scale",
    "plain_matrices",
    "polar",
    "polar_method",
]
