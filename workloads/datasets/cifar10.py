"""CIFAR-10 in its published python or binary batches."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from workloads.datasets.labels import checked_labels
from workloads.datasets.local_files import DataFile, DataFolder, Published, data_folder
from workloads.datasets.python_batches import read_python_batch

SOURCE = "https://www.cs.toronto.edu/~kriz/cifar.html (the python or the binary version, unpacked)"
PLANES = (3, 32, 32)  # red, green and blue, each row by row
NUM_VALUES = 3 * 32 * 32


class Version(NamedTuple):
    """A published form of the data: its folder, what reads a batch of it, and its batches, the last one for
    testing."""

    folder: str
    read: Callable[[DataFile], tuple[np.ndarray, np.ndarray]]
    batches: Mapping[str, Published]


def read_binary_batch(file: DataFile) -> tuple[np.ndarray, np.ndarray]:
    """Records of one label and the values of an image, a byte each."""
    record = 1 + NUM_VALUES
    if len(file.content) % record:
        whole, rest = divmod(len(file.content), record)
        raise file.problem(f"records of {record:,} bytes", f"{whole:,} of them and {rest:,} bytes")
    records = np.frombuffer(file.content, np.uint8).reshape(-1, record)
    return records[:, 1:], records[:, 0]


VERSIONS = (
    Version(
        "cifar-10-batches-py",
        read_python_batch,
        # checksums in torchvision.datasets.CIFAR10; the names of the classes, batches.meta, are not read
        MappingProxyType(
            {
                "data_batch_1": Published(31_035_704, "c99cafc152244af753f735de768cd75f"),
                "data_batch_2": Published(31_035_320, "d4bba439e000b95fd0a9bffe97cbabec"),
                "data_batch_3": Published(31_035_999, "54ebc095f3ab1f0389bbae665268c751"),
                "data_batch_4": Published(31_035_696, "634d18415352ddfa80567beed471001a"),
                "data_batch_5": Published(31_035_623, "482c414d41f54cd18b22e5b47cb7c3cb"),
                "test_batch": Published(31_035_526, "40351d587109b95175f43aff81a1287e"),
            }
        ),
    ),
    Version(
        "cifar-10-batches-bin",
        read_binary_batch,
        # checksums that the Go package dldataset and other projects' CMake scripts agree on
        MappingProxyType(
            {
                "data_batch_1.bin": Published(30_730_000, "5dd7e06a14cb22eb9f671a540d1b7c25"),
                "data_batch_2.bin": Published(30_730_000, "5ea93a67294ea407fff1d09f752e9692"),
                "data_batch_3.bin": Published(30_730_000, "942cd6a4bcdd0dd3c604fbe906cb4421"),
                "data_batch_4.bin": Published(30_730_000, "ae636b3ba5c66a11e91e8cb52e771fcb"),
                "data_batch_5.bin": Published(30_730_000, "53f37980c15c3d472c316c40844f3f0d"),
                "test_batch.bin": Published(30_730_000, "803d5f7f4d78ea53de84dbe85f74fb6d"),
            }
        ),
    ),
)


def load_cifar10(
    *, folder: str | None = None, files: str = "published"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train images, train labels, test images, test labels; the five training batches one after the other.

    Images are uint8 of shape [n, 32, 32, 3], labels int32.

    Args:
      folder: where the six batches are, or the folder "cifar-10-batches-py" or "cifar-10-batches-bin" with
        them, as the archives unpack; see `local_files.data_folder` for the default.
      files: "published" insists on the published files (50,000 and 10,000 images), "any" takes batches of
        other images and of any number of them.

    Raises:
      ValueError: a batch is missing, or not the published one, or not well-formed.
    """
    place, version = _version(data_folder("cifar10", SOURCE, folder, files))
    images, labels = [], []
    for name, published in version.batches.items():
        file = place.read(place.path / name)
        file.check(published)
        batch_images, batch_labels = _images(file, *version.read(file))
        images.append(batch_images)
        labels.append(batch_labels)
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]


def _version(place: DataFolder) -> tuple[DataFolder, Version]:
    """The version of which the most batches are there, and the folder that has them."""
    candidates = []
    for version in VERSIONS:
        for path in (place.path, place.path / version.folder):
            missing = [name for name in version.batches if not (path / name).is_file()]
            candidates.append((missing, path, version))
    missing, path, version = min(candidates, key=lambda candidate: len(candidate[0]))
    if len(missing) == len(version.batches):
        names = " or ".join(f"{min(version.batches)}, …, {max(version.batches)}" for version in VERSIONS)
        raise place.problem(place.path, names, "none of the files")
    if missing:
        raise place.problem(path, ", ".join(version.batches), "no " + ", ".join(missing))
    return place._replace(path=path), version


def _images(file: DataFile, rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images with the colours of a pixel side by side, from rows of three planes; and their labels."""
    if rows.ndim != 2 or rows.shape[1] != NUM_VALUES:
        raise file.problem(f"rows of {NUM_VALUES:,} values", f"values of shape {rows.shape}")
    images = rows.reshape(-1, *PLANES).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), checked_labels(file, labels, len(images))
