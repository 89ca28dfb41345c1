"""All 1,797 of scikit-learn's digits, several copies of each: as they are and spoilt, or in other colours.

The copies of an image are not independent: whoever splits or resamples does so by image.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from workloads.datasets.coloured_digits import coloured
from workloads.datasets.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from workloads.datasets.digits import load_digits

IMAGES = 1797
SHIFTS = tuple((corruption, severity) for corruption in CORRUPTIONS for severity in SEVERITIES)


class Copies(NamedTuple):
    """The same images under several conditions, in a random order, and their labels under all of them."""

    images: Float[np.ndarray, "conditions n height width channels"]
    labels: Int[np.ndarray, "n"]


def all_digits() -> tuple[Float[np.ndarray, "n height width 1"], Int[np.ndarray, "n"]]:
    """Images and labels, those that `load_digits` has for training before those for testing."""
    train_images, train_labels, test_images, test_labels = load_digits()
    return np.concatenate([train_images, test_images]), np.concatenate([train_labels, test_labels])


def spoilt_digits(*, seed: int = 0) -> Copies:
    """The images as they are, then in each of `SHIFTS`."""
    images, labels = all_digits()
    spoilt = (corrupted(images, *shift, seed=seed) for shift in SHIFTS)
    return Copies(np.stack([images, *spoilt]), labels)


def recoloured_digits(flips: Sequence[float], *, seed: int = 0) -> Copies:
    """The images of `coloured` with each of these shares of flips; the larger share has those of the smaller.

    Raises ValueError for no share, or one outside [0, 1].
    """
    if not flips:
        raise ValueError("flips: at least one share is needed, got none")
    images, digits = all_digits()
    environments = [coloured(images, digits, flip, np.random.default_rng(seed)) for flip in flips]
    return Copies(np.stack([images for images, _ in environments]), environments[0][1])
