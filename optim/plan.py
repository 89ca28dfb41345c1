"""What transformations do with each leaf: told to who asks while their `init` runs, and kept in no state."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax

from optim.placement import Placement

Facts = Mapping[str, Mapping[str, Any]]

_asked: ContextVar[list[Facts | Placement] | None] = ContextVar("asked", default=None)


def tell(facts: Facts | Placement) -> None:
    """Say what becomes of each leaf, by its path, or of a batch of matrices; heard inside `heard` alone.

    A plan in the state would be no array, which serialization, sharding and copying of states stumble over.
    """
    if (told := _asked.get()) is not None:
        told.append(facts)


def rehearse(step: Callable[..., Any], *arguments: Any) -> None:
    """Let a step tell what it does, before there is one: it is traced where someone asks, and never run."""
    if _asked.get() is not None:
        jax.eval_shape(step, *arguments)


@contextmanager
def heard() -> Iterator[list[Facts | Placement]]:
    """The facts told inside, in order."""
    token = _asked.set(told := [])
    try:
        yield told
    finally:
        _asked.reset(token)
