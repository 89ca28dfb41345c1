"""Gaussian-process regression over single runs, from its formula in float64: an oracle for CurveModel."""

from typing import NamedTuple

import numpy as np


class Truth(NamedTuple):
    """What the formula of the model leaves open."""

    amplitude: float
    seed: float
    noise: float
    lengths: np.ndarray


def segment_logarithms(curves, unit_rate):
    """log(mean of a tenth of the steps + 2 % of the unit), of curves whose steps ten divides."""
    return np.log(curves.reshape(len(curves), 10, -1).mean(axis=2) + 0.02 * unit_rate)


def latent_covariance(first, second, truth):
    """1 + a²·Matérn-5/2 of the scaled distance."""
    distance = np.sqrt((((first[:, None] - second[None]) / truth.lengths) ** 2).sum(axis=2))
    root = np.sqrt(5) * distance
    return 1 + truth.amplitude**2 * (1 + root + 5 * distance**2 / 3) * np.exp(-root)


def run_covariance(places, seeds, truth):
    """Of the values of single runs."""
    alike = np.array([[a == b for b in seeds] for a in seeds])
    own = truth.noise**2 * np.eye(len(seeds))
    return latent_covariance(places, places, truth) + truth.seed**2 * alike + own


def posterior(places, values, seeds, queries, truth):
    """Mean and covariance of the latent values at queries."""
    inverse = np.linalg.inv(run_covariance(places, seeds, truth))
    cross = latent_covariance(queries, places, truth)
    mean = cross @ inverse @ values
    return mean, latent_covariance(queries, queries, truth) - cross @ inverse @ cross.T


def values_of(heights):
    """3·log(1 + height/3) of a level above the lowest; below it the height itself."""
    return np.where(heights < 0, heights, 3 * np.log1p(np.maximum(heights, 0) / 3))


def heights_of(values):
    """The inverse."""
    return np.where(values < 0, values, 3 * np.expm1(values / 3))


def height_slope(values):
    """Of a height in its value."""
    return np.exp(np.maximum(values, 0) / 3)


def scores_of(values):
    """Scores whose values under the model are these, but for what all share."""
    return np.exp(heights_of(values - values.min()))
