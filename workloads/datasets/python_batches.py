"""CIFAR's python batches: dictionaries that Python 2 pickled, read without running anything they ask for.

A pickle names functions and calls them, so the unpickler here knows nothing but stand-ins for what an array
of bytes needs. NumPy's own are not among them: they believe what a file says of an array's memory.
"""

import io
import pickle
from typing import Any

import numpy as np

from workloads.datasets.local_files import DataFile

MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # the second one since NumPy 2


class ByteArray:
    """Stands for `numpy.ndarray`: what the file says of one, if its values are bytes."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran_order, content = state
        if not isinstance(dtype, ByteType):
            raise pickle.UnpicklingError("an array whose type is not one of NumPy")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran_order else "C")


class ByteType:
    """Stands for `numpy.dtype`, of unsigned bytes."""

    def __init__(self, code: str | bytes, *flags: Any):
        if code not in ("u1", b"u1"):
            raise pickle.UnpicklingError(f"an array of {code!r} instead of unsigned bytes")

    def __setstate__(self, state: tuple) -> None:
        """Byte order and alignment, which bytes do not have."""


def _encode(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, which Python 3 writes for bytes where it keeps to Python 2's protocol."""
    return text.encode("latin1")


STAND_INS = {
    **{(module, "_reconstruct"): lambda kind, shape, code: kind() for module in MODULES},
    ("numpy", "ndarray"): ByteArray,
    ("numpy", "dtype"): ByteType,
    ("_codecs", "encode"): _encode,
}


class BatchUnpickler(pickle.Unpickler):
    """Knows the stand-ins and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"a pickle that asks for {module}.{name}, which no batch needs")
        return STAND_INS[module, name]


def read_python_batch(file: DataFile) -> tuple[np.ndarray, np.ndarray]:
    """The array under "data" and the labels of a python batch; what else it holds is not looked at.

    Raises ValueError when the file is not a pickle of these or asks for anything else.
    """
    expected = (
        "a pickled dictionary with an array of bytes under 'data' and a list of integers under 'labels'"
    )
    stream = io.BytesIO(file.content)
    try:
        batch = BatchUnpickler(stream, encoding="bytes").load()
    except Exception as error:  # a spoilt pickle may raise anything
        found = (
            str(error) if isinstance(error, pickle.UnpicklingError) else f"{type(error).__name__}: {error}"
        )
        raise file.problem(expected, found) from error
    if rest := len(stream.read()):
        raise file.problem(expected, f"{rest:,} bytes after its end")
    if not isinstance(batch, dict):
        raise file.problem(expected, f"a {type(batch).__name__}")
    data, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(data, ByteArray) or data.values is None:
        raise file.problem(expected, f"under 'data' a {type(data).__name__}")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise file.problem(expected, f"under 'labels' a {type(labels).__name__} without them")
    return data.values, np.asarray(labels)
