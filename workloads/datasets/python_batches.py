"""CIFAR's python batches: dictionaries that Python 2 pickled, read without running anything they ask for.

A pickle names functions and calls them, so the unpickler here knows nothing but stand-ins for what an array
of bytes needs. NumPy's own are not among them: they believe what a file says of an array's memory. Nor may a
small file take long or grow large: it is the unpickler in Python, whose memo holds no more than was put in
it, keys are names alone, whose hashes nobody foresees, and no text is made of more often than it was read.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

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


STAND_INS = {
    **{(module, "_reconstruct"): lambda kind, shape, code: kind() for module in MODULES},
    ("numpy", "ndarray"): ByteArray,
    ("numpy", "dtype"): ByteType,
}
# what makes sets, whose members are hashed, and buffers, which are as large as the file says
UNKNOWN = (pickle.EMPTY_SET, pickle.ADDITEMS, pickle.FROZENSET, pickle.BYTEARRAY8, pickle.NEXT_BUFFER)


def _guarded(
    load: Callable[["BatchUnpickler"], None], allowed: Callable[[list], bool], problem: str
) -> Callable[["BatchUnpickler"], None]:
    """`load`, where the stack that it takes from is as allowed."""

    def load_allowed(unpickler: "BatchUnpickler") -> None:
        if not allowed(unpickler.stack):
            raise pickle.UnpicklingError(problem)
        load(unpickler)

    return load_allowed


def _named(items: list) -> bool:
    """Whether the keys in [key, value, key, value, …] are names."""
    return all(isinstance(key, str | bytes) for key in items[::2])


NO_NAMES, NO_STATE = "a dictionary with keys that are no names", "a state for what has none"


class BatchUnpickler(pickle._Unpickler):
    """Knows the stand-ins, dictionaries by name, and of what else a pickle may hold only what is harmless."""

    dispatch: ClassVar = {
        **{code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in UNKNOWN},
        pickle.SETITEM[0]: _guarded(
            pickle._Unpickler.load_setitem, lambda stack: _named(stack[-2:]), NO_NAMES
        ),
        pickle.SETITEMS[0]: _guarded(pickle._Unpickler.load_setitems, _named, NO_NAMES),
        pickle.DICT[0]: _guarded(pickle._Unpickler.load_dict, _named, NO_NAMES),
        pickle.BUILD[0]: _guarded(
            pickle._Unpickler.load_build,
            lambda stack: isinstance(stack[-2], ByteArray | ByteType),
            NO_STATE,
        ),
    }

    def __init__(self, stream: io.BytesIO):
        super().__init__(stream, encoding="bytes")
        self._room = len(stream.getvalue())  # characters that may be encoded

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"a pickle that asks for {module}.{name}, which no batch needs")
        return STAND_INS[module, name]

    def _encode(self, text: str, encoding: str) -> bytes:
        """Stands for `_codecs.encode`, which Python 3 writes for bytes where it keeps to Python 2's
        protocol."""
        self._room -= len(text)
        if self._room < 0:
            raise pickle.UnpicklingError("more text than the file holds")
        return text.encode("latin1")


def read_python_batch(file: DataFile) -> tuple[np.ndarray, np.ndarray]:
    """The array under "data" and the labels of a python batch; what else it holds is not looked at.

    Raises ValueError when the file is not a pickle of these or asks for anything else.
    """
    expected = (
        "a pickled dictionary with an array of bytes under 'data' and a list of integers under 'labels'"
    )
    stream = io.BytesIO(file.content)
    try:
        batch = BatchUnpickler(stream).load()
    except Exception as error:  # a spoilt pickle may raise anything
        words = str(error) or "truncated"  # EOFError comes without any
        found = words if isinstance(error, pickle.UnpicklingError) else f"{type(error).__name__}: {words}"
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
