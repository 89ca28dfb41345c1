"""The threads of the linear algebra."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import ParamSpec, TypeVar

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


@functools.cache
def _limit() -> Callable[[], AbstractContextManager]:
    try:
        from threadpoolctl import ThreadpoolController
    except ModuleNotFoundError:
        return nullcontext
    return functools.partial(ThreadpoolController().select(user_api="blas").limit, limits=1)
