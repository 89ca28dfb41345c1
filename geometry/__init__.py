"""What a gradient looks like: norms, their duals, and the directions of steepest descent."""

from geometry.criteria import (
    curvature_index,
    isotropic_log_smoothness,
    nuclear_rank,
    parameter_norm_bounds,
    spec_sign_index,
    stable_rank,
)
from geometry.matrices import PLAIN, MatrixView, plain_matrices
from geometry.moments import Moments, noise_scale
from geometry.noise import NoiseAverage, NoiseScale, c4
from geometry.norms import EUCLIDEAN, SIGN, SPECTRAL, Geometry, ky_fan
from geometry.path import PathGeometry, path_geometry
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
    "NoiseAverage",
    "NoiseScale",
    "PathGeometry",
    "PolarExpress",
    "PolarMethod",
    "c4",
    "curvature_index",
    "isotropic_log_smoothness",
    "ky_fan",
    "noise_scale",
    "nuclear_rank",
    "parameter_norm_bounds",
    "path_geometry",
    "plain_matrices",
    "polar",
    "polar_method",
    "spec_sign_index",
    "stable_rank",
]
