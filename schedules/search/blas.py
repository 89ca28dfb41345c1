"""The threads of the linear algebra."""

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

import numpy as np

STRIP = 64  # rows of a matrix that are computed together: a cache holds them

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def on_one_thread(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function with its linear algebra on one thread: on matrices of a few hundred rows, threads wait for
    each other for most of the time, and their number decides the last bits.

    Without threadpoolctl, of the extra `search`, they stay as they are.
    """

    @functools.wraps(function)
    def limited(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with _limit()():
            return function(*args, **kwargs)

    return limited


def by_strips(function: Callable[[slice], np.ndarray], rows: int) -> np.ndarray:
    """What the function makes of strips of so many rows, one below the other: they are computed side by side,
    with the same bits on any number of cores."""
    if rows <= STRIP:  # threads would take longer to start
        return function(slice(0, rows))
    strips = [slice(first, min(first + STRIP, rows)) for first in range(0, rows, STRIP)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.concatenate(list(threads.map(function, strips)))


@functools.cache
def _limit() -> Callable[[], AbstractContextManager]:
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return nullcontext
    return functools.partial(ThreadpoolController().select(user_api="blas").limit, limits=1)
