"""Calls inside a running study, timed."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def watched(owner: type, name: str, callback: Callable[[float], None]) -> Iterator[None]:
    """Within the `with` statement, every call of a method ends with `after(seconds that it took)`."""
    method = getattr(owner, name)

    @functools.wraps(method)
    def call(*arguments, **options):
        begun = time.perf_counter()
        try:
            return method(*arguments, **options)
        finally:
            callback(time.perf_counter() - begun)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, method)
