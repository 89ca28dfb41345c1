"""What transformations do with each leaf: told to who asks while their `init` runs, and kept in no state."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Facts = Mapping[str, Mapping[str, Any]]

_asked: ContextVar[list[Facts] | None] = ContextVar("asked", default=None)


def tell(facts: Facts) -> None:
    """Say what becomes of each leaf, by its path; heard inside `heard` alone.

    A plan in the state would be no array, which serialization, sharding and copying of states stumble over.
    """
    if (told := _asked.get()) is not None:
        told.append(facts)


@contextmanager
def heard() -> Iterator[list[Facts]]:
    """The facts told inside, in order."""
    token = _asked.set(told := [])
    try:
        yield told
    finally:
        _asked.reset(token)
