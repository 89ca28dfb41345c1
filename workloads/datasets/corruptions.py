"""Images unlike those trained on: turned, blurred, noisy or partly covered, at five severities."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import ndimage

Images = Float[np.ndarray, "n height width channels"]

SEVERITIES = range(1, 6)


class Corruption(NamedTuple):
    """A way to spoil images.

    Attributes:
      apply: (images, strength, random numbers) → images of the same shape.
      strengths: for the severities from 1 to 5, in the unit of `apply`.
    """

    apply: Callable[[Images, float, np.random.Generator], Images]
    strengths: Sequence[float]


def _turned(images: Images, degrees: float, random: np.random.Generator) -> Images:
    """Each one way or the other, by a fair coin."""
    ways = [
        ndimage.rotate(images, angle, axes=(1, 2), reshape=False, order=1) for angle in (-degrees, degrees)
    ]
    return np.where(random.integers(2, size=(len(images), 1, 1, 1)), *ways)


def _blurred(images: Images, deviation: float, random: np.random.Generator) -> Images:
    return ndimage.gaussian_filter(images, (0, deviation, deviation, 0))


def _noisy(images: Images, deviation: float, random: np.random.Generator) -> Images:
    return np.clip(images + deviation * random.standard_normal(images.shape), 0, 1)


def _covered(images: Images, share: float, random: np.random.Generator) -> Images:
    """A rectangle anywhere in each, of this share of height and width, is black."""
    hidden = True
    for axis, length in ((1, images.shape[1]), (2, images.shape[2])):
        side = round(share * length)
        start = random.integers(length - side + 1, size=(len(images), 1, 1, 1))
        place = np.expand_dims(np.arange(length), [other for other in range(4) if other != axis])
        hidden = hidden & (place >= start) & (place < start + side)
    return np.where(hidden, 0, images)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "rotation": Corruption(_turned, (10.0, 20.0, 30.0, 45.0, 60.0)),
        "blur": Corruption(_blurred, (0.4, 0.6, 0.8, 1.0, 1.3)),
        "noise": Corruption(_noisy, (0.1, 0.2, 0.3, 0.4, 0.5)),
        "occlusion": Corruption(_covered, (0.25, 0.375, 0.5, 0.625, 0.75)),
    }
)


def corrupted(images: Images, corruption: str, severity: int, *, seed: int = 0) -> Images:
    """The images spoilt in one of the ways of `CORRUPTIONS`, in float32 with values in [0, 1].

    Labels keep their meaning. Copies of an image, by other seeds, are not independent: resample by image.

    Args:
      images: with values in [0, 1].
      corruption: "rotation" by 10 to 60 degrees either way, Gaussian "blur" of 0.4 to 1.3 pixels, Gaussian
        "noise" of 0.1 to 0.5 cut to [0, 1], or "occlusion" of a quarter to three quarters of both sides.
      severity: from 1 to 5.
      seed: of what is random.

    Raises ValueError for another corruption or severity.
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"corruption must be one of {list(CORRUPTIONS)}, got {corruption!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity must be from 1 to 5, got {severity}")
    apply, strengths = CORRUPTIONS[corruption]
    return apply(images, strengths[severity - 1], np.random.default_rng(seed)).astype(np.float32)
