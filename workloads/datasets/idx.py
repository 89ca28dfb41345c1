"""MNIST and Fashion-MNIST: images and labels in IDX files, plain or compressed by gzip."""

import gzip
import io
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from workloads.datasets.labels import checked_labels
from workloads.datasets.local_files import DataFile, DataFolder, Published, data_folder

FILE_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
UNSIGNED_BYTE = 8  # IDX's code for the type of the values
IMAGE_AXES, LABEL_AXES = 3, 1
PIECE = 2**20  # bytes uncompressed at a time


class Source(NamedTuple):
    """Where a data set is published, and its four files, in the order of `FILE_NAMES`.

    The checksums are of the uncompressed content: packages compress it anew (Debian's files differ from
    Zalando's), and it serves plain files too.
    """

    where: str
    published: tuple[Published, ...]


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        # checksums in the loader of the library secml (secml.data.loader.CDataLoaderMNIST)
        "mnist": Source(
            "http://yann.lecun.com/exdb/mnist/ (the same files: https://ossci-datasets.s3.amazonaws.com/mnist/"
            "train-images-idx3-ubyte.gz and so on)",
            (
                Published(47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
                Published(60_008, "a25bea736e30d166cdddb491f175f624"),
                Published(7_840_016, "2646ac647ad5339dbf082846283269ea"),
                Published(10_008, "27ae3e4e09519cfbb04c329615203637"),
            ),
        ),
        # checksums of the content of Debian's package dataset-fashion-mnist 0.0~git20200523.55506a9-1
        "fashion_mnist": Source(
            "https://github.com/zalandoresearch/fashion-mnist (the same images: Debian's package"
            " dataset-fashion-mnist, in /usr/share/datasets/fashion-mnist)",
            (
                Published(47_040_016, "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
                Published(60_008, "9018921c3c673c538a1fc5bad174d6f9"),
                Published(7_840_016, "8181f5470baa50b63fa0f6fddb340f0a"),
                Published(10_008, "15d484375f8d13e6eb1aabb0c3f46965"),
            ),
        ),
    }
)


def load_idx(
    name: str, *, folder: str | None = None, files: str = "published"
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train images, train labels, test images, test labels of "mnist" or "fashion_mnist".

    Images are uint8 of shape [n, height, width, 1], labels int32. A file may be plain or end in ".gz", and be
    named "train-images-idx3-ubyte" or, as some archives have it, "train-images.idx3-ubyte".

    Args:
      name: the data set, a key of `SOURCES`.
      folder: where its four files are; see `local_files.data_folder` for the default.
      files: "published" insists on the published files (60,000 and 10,000 images of 28×28), "any" takes
        whatever is well-formed, images of other sizes and numbers too.

    Raises:
      ValueError: a file is missing, or not the published one, or not well-formed, or the files do not fit
        together.
    """
    place = data_folder(name, SOURCES[name].where, folder, files)
    parts = zip(_paths(place), (IMAGE_AXES, LABEL_AXES) * 2, SOURCES[name].published, strict=True)
    files = [_read(place, path, axes, published) for path, axes, published in parts]
    train_images, train_labels = _split(*files[:2])
    test_images, test_labels = _split(*files[2:])
    if test_images.shape[1:] != train_images.shape[1:]:
        train_shape, test_shape = ("×".join(map(str, x.shape[1:3])) for x in (train_images, test_images))
        raise files[2].file.problem(
            f"images of {train_shape} pixels as for training", f"images of {test_shape}"
        )
    return train_images, train_labels, test_images, test_labels


def _paths(place: DataFolder) -> list[Path]:
    """The four files, each under the first of its names that is there."""
    paths, missing = [], []
    for name in FILE_NAMES:
        spellings = [
            spelling + end for end in ("", ".gz") for spelling in (name, name.replace("-idx", ".idx"))
        ]
        present = [place.path / spelling for spelling in spellings if (place.path / spelling).is_file()]
        paths += present[:1]
        missing += [] if present else [name]
    if missing:
        contents = "none of the files" if len(missing) == len(FILE_NAMES) else "no " + ", ".join(missing)
        raise place.problem(place.path, f"{', '.join(FILE_NAMES)}, plain or with .gz,", contents)
    return paths


class _Array(NamedTuple):
    """The bytes in an IDX file."""

    file: DataFile
    values: np.ndarray


def _read(place: DataFolder, path: Path, axes: int, published: Published) -> _Array:
    """The array in a file, plain or compressed, of which no more is uncompressed than its header promises."""
    packed = place.read(path)
    stream = io.BytesIO(packed.content)
    try:
        content = _content(packed, gzip.GzipFile(fileobj=stream) if path.suffix == ".gz" else stream, axes)
    except (OSError, EOFError, zlib.error) as error:
        raise packed.problem("a whole gzip file", f"{len(packed.content):,} bytes: {error}") from error
    file = packed._replace(content=content)
    file.check(published)
    return _Array(file, _values(file, axes))


def _content(file: DataFile, stream: io.BufferedIOBase, axes: int) -> bytes:
    """What the header promises, and one byte more where there are more: the stream may be endless."""
    header = stream.read(_header_size(axes))
    wanted = _header_size(axes) + math.prod(_shape(file._replace(content=header), axes)) + 1
    pieces = [header]
    while (missing := wanted - sum(map(len, pieces))) and (piece := stream.read(min(missing, PIECE))):
        pieces.append(piece)
    return b"".join(pieces)


def _split(images: _Array, labels: _Array) -> tuple[np.ndarray, np.ndarray]:
    return images.values[..., None], checked_labels(labels.file, labels.values, len(images.values))


def _values(file: DataFile, axes: int) -> np.ndarray:
    shape, header = _shape(file, axes), _header_size(axes)
    size = header + math.prod(shape)
    if len(file.content) != size:
        found = f"{len(file.content):,} bytes" + (" and more" if len(file.content) > size else "")
        raise file.problem(f"{size:,} bytes for values of shape {shape}", found)
    return np.frombuffer(file.content, np.uint8, offset=header).reshape(shape)


def _shape(file: DataFile, axes: int) -> list[int]:
    """The lengths of the axes.

    An IDX file holds two zeros, the type of the values and the number of axes, a byte each; the length of
    each axis, a big-endian number of four bytes; then the values, the last axis fastest.
    """
    magic, header = bytes([0, 0, UNSIGNED_BYTE, axes]), _header_size(axes)
    if file.content[:4] != magic:
        found = f"the first bytes {file.content[:4].hex()}" if file.content else "an empty file"
        raise file.problem(f"IDX's magic number {magic.hex()} (bytes, axes: {axes})", found)
    if len(file.content) < header:
        raise file.problem(f"a header of {header} bytes", f"{len(file.content)} bytes")
    shape = np.frombuffer(file.content[4:header], ">u4").tolist()
    if 0 in shape:
        raise file.problem("at least one value", f"values of shape {shape}")
    return shape


def _header_size(axes: int) -> int:
    return 4 + 4 * axes
