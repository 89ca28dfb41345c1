"""Measures of generalisation: what a trained network says of its error on examples that it has not seen."""

from geometry.measures.deviation import by_magnitude, isotropic, largest_deviation
from geometry.measures.gradients import mean_cosine
from geometry.measures.kernels import KernelNorms, kernel_norms
from geometry.measures.margin import margins
from geometry.measures.measure import Family, Measure, Network
from geometry.measures.paths import path_norm
from geometry.measures.registry import FAMILIES, MEASURES, measured

__all__ = [
    "FAMILIES",
    "MEASURES",
    "Family",
    "KernelNorms",
    "Measure",
    "Network",
    "by_magnitude",
    "isotropic",
    "kernel_norms",
    "largest_deviation",
    "margins",
    "mean_cosine",
    "measured",
    "path_norm",
]
