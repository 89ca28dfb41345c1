"""The labels of images in ten classes."""

import numpy as np

from workloads.datasets.local_files import DataFile

NUM_CLASSES = 10


def checked_labels(file: DataFile, labels: np.ndarray, num_images: int) -> np.ndarray:
    """The labels in `file` as int32, one for each of `num_images` images.

    Raises ValueError when there are no images or not as many labels, or when one is not of a class.
    """
    if not num_images:
        raise file.problem("at least one image", "none")
    if labels.shape != (num_images,) or labels.dtype.kind not in "iu":
        raise file.problem(
            f"{num_images:,} whole numbers, one label for each image",
            f"{labels.dtype} of shape {labels.shape}",
        )
    wrong = labels[(labels < 0) | (labels >= NUM_CLASSES)]
    if wrong.size:
        raise file.problem(f"labels from 0 to {NUM_CLASSES - 1}", f"{wrong.size:,} others such as {wrong[0]}")
    return labels.astype(np.int32)
