"""Boxes in a search's unit cube."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

ROUNDING = 1e-6  # of points, which are float32


class Box(NamedTuple):
    """All points between two corners."""

    low: Float[np.ndarray, "dims"]
    high: Float[np.ndarray, "dims"]

    @classmethod
    def around(cls, point: Float[np.ndarray, "dims"], sides: Float[np.ndarray, "dims"]) -> "Box":
        """The box with the point in its middle, moved where it would leave the cube.

        >>> Box.around(np.array([0.125, 0.5]), np.array([0.5, 2.0]))
        Box(low=array([0., 0.]), high=array([0.5, 1. ]))
        """
        sides = np.minimum(sides, 1.0)
        low = np.clip(np.asarray(point, np.float64) - sides / 2, 0, 1 - sides)
        return cls(low, low + sides)

    def holds(self, points: Float[np.ndarray, "points dims"]) -> Bool[np.ndarray, "points"]:
        return np.all((self.low - ROUNDING <= points) & (points <= self.high + ROUNDING), axis=1)

    def scaled(self, points: Float[np.ndarray, "*points dims"]) -> Float[np.ndarray, "*points dims"]:
        """Coordinates from the middle in half sides: -1 … 1 inside."""
        return (points - (self.low + self.high) / 2) / ((self.high - self.low) / 2)

    def unscaled(self, u: Float[np.ndarray, "*points dims"]) -> Float[np.ndarray, "*points dims"]:
        """The inverse of `scaled`."""
        return (self.low + self.high) / 2 + u * (self.high - self.low) / 2
