"""Digits whose colour tells the label better than their shape does, until it is turned round.

The label is whether the digit is 5 or more, wrong for a quarter of the images: nobody who looks at shapes is
right more often than .75. The colour is the label, but for a share of flips that is the environment's: with
.1 and .2 for training it is right for .90 and .80 of the images, with .9 for testing for .10. Source: the
coloured MNIST of arXiv:1907.02893.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from workloads.datasets.digits import load_digits

LABEL_NOISE = 0.25
TRAIN_FLIPS, TEST_FLIP = (0.1, 0.2), 0.9
FIRST_OF_LARGE = 5


class ColouredDigits(NamedTuple):
    """Images with a digit in one of two colours, and binary labels; training ones by environment."""

    train_images: Float[np.ndarray, "environments train height width 2"]
    train_labels: Int[np.ndarray, "environments train"]
    test_images: Float[np.ndarray, "test height width 2"]
    test_labels: Int[np.ndarray, "test"]


def coloured(
    images: Float[np.ndarray, "n height width 1"],
    digits: Int[np.ndarray, "n"],
    flip: float,
    random: np.random.Generator,
) -> tuple[Float[np.ndarray, "n height width 2"], Int[np.ndarray, "n"]]:
    """One environment: the images in the channel of their colour, and their labels in int32.

    The shares of wrong labels and of flipped colours are met exactly, up to one image.

    Raises ValueError for a `flip` outside [0, 1].
    """
    if not 0 <= flip <= 1:
        raise ValueError(f"flip must be in [0, 1], got {flip}")
    labels = (digits >= FIRST_OF_LARGE) ^ _chosen(len(digits), LABEL_NOISE, random)
    colours = labels ^ _chosen(len(digits), flip, random)
    return images * np.eye(2, dtype=images.dtype)[colours.astype(int), None, None], labels.astype(np.int32)


def load_coloured_digits(
    *, train_flips: Sequence[float] = TRAIN_FLIPS, test_flip: float = TEST_FLIP, seed: int = 0
) -> ColouredDigits:
    """scikit-learn's digits: the 1,437 training images dealt out to the environments, the 360 others in one.

    Environments are equally large; what is left over is not used.

    Args:
      train_flips: the share of flipped colours in each training environment.
      test_flip: that in the test environment.
      seed: of the deal, the wrong labels and the flips.

    Raises ValueError for no environment, or a share outside [0, 1].
    """
    if not train_flips:
        raise ValueError("train_flips: at least one environment is needed, got none")
    random = np.random.default_rng(seed)
    train_images, train_digits, test_images, test_digits = load_digits()
    order, size = random.permutation(len(train_digits)), len(train_digits) // len(train_flips)
    dealt = [order[place * size : (place + 1) * size] for place in range(len(train_flips))]
    environments = [
        coloured(train_images[rows], train_digits[rows], flip, random)
        for rows, flip in zip(dealt, train_flips, strict=True)
    ]
    images, labels = map(np.stack, zip(*environments, strict=True))
    return ColouredDigits(images, labels, *coloured(test_images, test_digits, test_flip, random))


def _chosen(count: int, share: float, random: np.random.Generator) -> np.ndarray:
    """Whether each of `count` is among those of the share, drawn without replacement."""
    return random.permutation(count) < round(share * count)
