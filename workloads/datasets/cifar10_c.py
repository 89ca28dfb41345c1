"""CIFAR-10-C: CIFAR-10's test images, corrupted in nineteen ways at five severities, in NumPy's files."""

import io
import math

import numpy as np

from workloads.datasets.labels import checked_labels
from workloads.datasets.local_files import DataFile, DataFolder, data_folder

SOURCE = "https://zenodo.org/records/2535967 (CIFAR-10-C.tar, unpacked)"
FOLDER = "CIFAR-10-C"  # as the archive unpacks
IMAGE = (32, 32, 3)
NUM_IMAGES = 10_000  # at each severity
NUM_SEVERITIES = 5
CORRUPTIONS = (
    *("brightness", "contrast", "defocus_blur", "elastic_transform", "fog", "frost", "gaussian_blur"),
    *("gaussian_noise", "glass_blur", "impulse_noise", "jpeg_compression", "motion_blur", "pixelate"),
    *("saturate", "shot_noise", "snow", "spatter", "speckle_noise", "zoom_blur"),
)


def load_cifar10_c(
    corruption: str, severity: int, *, folder: str | None = None, files: str = "published"
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of CIFAR-10's test set, corrupted: uint8 of shape [n, 32, 32, 3], and int32.

    A file holds the images of severity 1, then those of severity 2, and so on; "labels.npy" as many labels.
    Copies of an image have one place in all of them. Source: arXiv:1903.12261.

    Args:
      corruption: one of `CORRUPTIONS`, whose file is called so.
      severity: from 1 to 5.
      folder: where the files are, or the folder "CIFAR-10-C" with them, as the archive unpacks; see
        `local_files.data_folder` for the default.
      files: "published" insists on 50,000 images (the files' checksums are not known here), "any" takes any
        number of them that five divides.

    Raises:
      ValueError: no such corruption or severity; or a file is missing, cut, or of another type or shape.
    """
    if corruption not in CORRUPTIONS:
        raise ValueError(f"cifar10_c: corruption must be one of {list(CORRUPTIONS)}, got {corruption!r}")
    if not 1 <= severity <= NUM_SEVERITIES:
        raise ValueError(f"cifar10_c: severity must be from 1 to {NUM_SEVERITIES}, got {severity}")
    place = _unpacked(data_folder("cifar10_c", SOURCE, folder, files))
    image_file, label_file = (place.read(place.path / f"{name}.npy") for name in (corruption, "labels"))
    images = _array(image_file)
    _check_images(image_file, images)
    labels = checked_labels(label_file, _array(label_file), len(images))
    count = len(images) // NUM_SEVERITIES
    rows = slice((severity - 1) * count, severity * count)
    return images[rows], labels[rows]


def _unpacked(place: DataFolder) -> DataFolder:
    """The folder itself, or that of the archive in it."""
    return place._replace(path=place.path / FOLDER) if (place.path / FOLDER).is_dir() else place


def _array(file: DataFile) -> np.ndarray:
    """The array in one of NumPy's files, of which no more is made than the file holds."""
    stream = io.BytesIO(file.content)
    try:
        major, _ = np.lib.format.read_magic(stream)
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[major]
        shape, fortran_order, dtype = read_header(stream)
    except (ValueError, KeyError) as error:
        raise file.problem("an array in NumPy's format, version 1 or 2", str(error)) from error
    if dtype.kind not in "iu" or fortran_order:
        raise file.problem("whole numbers, the last axis fastest", f"{dtype}, Fortran order: {fortran_order}")
    size, rest = dtype.itemsize * math.prod(shape), len(file.content) - stream.tell()
    if rest != size:
        raise file.problem(f"{size:,} bytes for values of shape {shape}", f"{rest:,} bytes")
    return np.frombuffer(file.content, dtype, offset=stream.tell()).reshape(shape)


def _check_images(file: DataFile, images: np.ndarray) -> None:
    published = NUM_SEVERITIES * NUM_IMAGES
    well_shaped = images.dtype == np.uint8 and images.shape[1:] == IMAGE
    if not well_shaped or len(images) % NUM_SEVERITIES or (file.folder.insist and len(images) != published):
        number = f"n = {published:,}" if file.folder.insist else f"n a multiple of {NUM_SEVERITIES}"
        raise file.problem(
            f"bytes of shape (n, 32, 32, 3), {number}", f"{images.dtype} of shape {images.shape}"
        )
