"""scikit-learn's handwritten digits (the UCI optical recognition test set), shipped with the package."""

import numpy as np


def load_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train images, train labels, test images, test labels: 1,437 and 360, split once and for all by class.

    Images are float32 of shape [n, 8, 8, 1] with values in [0, 1], labels int32.
    """
    # imported here: only this workload needs scikit-learn
    from sklearn.datasets import load_digits as load_images
    from sklearn.model_selection import train_test_split

    digits = load_images()
    images = (digits.images / 16).astype(np.float32)[..., None]
    labels = digits.target.astype(np.int32)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return train_images, train_labels, test_images, test_labels
