"""Static records: what a transformation does with each leaf, left in its state by `init` to be read later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import optax
from jaxtyping import PyTree

Fields = Mapping[str, Any]


@jax.tree_util.register_static
@dataclass(frozen=True)
class Record:
    """Facts by leaf, hashable and without arrays: a part of the state's structure, not of its content."""

    leaves: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]

    @classmethod
    def of(cls, fields: Mapping[str, Fields]) -> "Record":
        return cls(tuple((path, tuple(facts.items())) for path, facts in fields.items()))

    def fields(self) -> dict[str, dict[str, Any]]:
        return {path: dict(facts) for path, facts in self.leaves}


class RecordState(NamedTuple):
    """The state of a transformation that only leaves a record."""

    record: Record


def record(facts: Callable[[PyTree], Mapping[str, Fields]]) -> optax.GradientTransformation:
    """Leave `facts(params)` in the state and the updates as they are."""

    def init(params):
        return RecordState(Record.of(facts(params)))

    def update(updates, state, params=None):
        return updates, state

    return optax.GradientTransformation(init, update)
