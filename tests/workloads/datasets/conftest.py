"""Writers of the published formats, from their descriptions, and images to write."""

import gzip
import io
import pickle
import struct
from typing import NamedTuple

import numpy as np
import pytest

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
BATCH_NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


class Split(NamedTuple):
    images: np.ndarray
    labels: np.ndarray


def _save_string(pickler, text):
    """Text and bytes alike as Python 2 wrote its strings."""
    content = text.encode("latin1") if isinstance(text, str) else text
    if len(content) < 256:
        pickler.write(pickle.SHORT_BINSTRING + bytes([len(content)]) + content)
    else:
        pickler.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
    pickler.memoize(text)


def _python2_pickle(value):
    stream = io.BytesIO()
    pickler = pickle._Pickler(stream, protocol=2)
    pickler.dispatch = {**pickler.dispatch, str: _save_string, bytes: _save_string}
    pickler.dump(value)
    # NumPy's module as it was called before NumPy 2
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _planes(images):
    """A row for each image: its red values, its green ones, its blue ones, each plane row by row."""
    return np.stack([image.transpose(2, 0, 1).ravel() for image in images])


def _random_split(count, shape, seed):
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, *shape), dtype=np.uint8), rng.integers(0, 10, count))


@pytest.fixture(scope="session")
def batch_names():
    return BATCH_NAMES


@pytest.fixture(scope="session")
def idx_names():
    return IDX_NAMES


@pytest.fixture(scope="session")
def random_split():
    """(count, image shape, seed) → random images and labels."""
    return _random_split


@pytest.fixture(scope="session")
def cifar_batches():
    """Six batches of 32×32 images, of different lengths."""
    return [_random_split(4 + number, (32, 32, 3), number) for number in range(6)]


@pytest.fixture(scope="session")
def pickle_batch():
    """The content of a batch as Python 2 pickled it: `data`, a list of labels, and what else there was."""

    def content(data, labels):
        return _python2_pickle(
            {
                "data": data,
                "labels": labels,
                "batch_label": "training batch 1 of 5",
                "filenames": ["a_s_000001.png"] * len(labels),
            }
        )

    return content


@pytest.fixture(scope="session")
def write_python_batches(pickle_batch):
    def write(folder, batches):
        folder.mkdir(parents=True, exist_ok=True)
        for name, batch in zip(BATCH_NAMES, batches, strict=True):
            (folder / name).write_bytes(pickle_batch(_planes(batch.images), batch.labels.tolist()))
        (folder / "batches.meta").write_bytes(_python2_pickle({"label_names": ["airplane"], "num_vis": 3072}))

    return write


@pytest.fixture(scope="session")
def write_binary_batches():
    def write(folder, batches):
        folder.mkdir(parents=True, exist_ok=True)
        for name, batch in zip(BATCH_NAMES, batches, strict=True):
            records = [
                bytes([label, *row])
                for label, row in zip(batch.labels, _planes(batch.images).tolist(), strict=True)
            ]
            (folder / f"{name}.bin").write_bytes(b"".join(records))

    return write


@pytest.fixture(scope="session")
def idx_content():
    """(array of bytes) → the content of an IDX file."""

    def content(array):
        lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
        return bytes([0, 0, 8, array.ndim]) + lengths + bytes(array.ravel().tolist())

    return content


@pytest.fixture(scope="session")
def write_idx(idx_content):
    """(folder, train split, test split, ending): four files; images of shape [n, height, width]."""

    def write(folder, train, test, ending="", dotted=False):
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in zip(IDX_NAMES, (*train, *test), strict=True):
            spelling = name.replace("-idx", ".idx") if dotted else name
            content = idx_content(array)
            (folder / (spelling + ending)).write_bytes(gzip.compress(content) if ending else content)

    return write
