"""What a search asks for: shapes, and the trials that measure them."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.family import Family
from schedules.search.keys import named_key


@dataclass(frozen=True, eq=False)
class Shape:
    """One candidate of a family: its number in the order asked, and its shape parameters."""

    family: Family
    number: int
    params: Mapping[str, float]


@functools.lru_cache(maxsize=4096)
def _multipliers(shape: Shape, num_steps: int) -> Float[np.ndarray, "steps"]:
    # for one shape at a time: the last bits of a batch could depend on its size
    return np.asarray(shape.family.multipliers(shape.params, num_steps))


class Trial(NamedTuple):
    """One training run of a search: a shape times a base learning rate, with a replicate's keys."""

    stage: str
    shape: Shape
    rate: int
    base_lr: float
    replicate: int

    @property
    def identity(self) -> tuple[str, str, int, int, int]:
        """What makes this trial the same one in a resumed search."""
        return self.stage, self.shape.family.name, self.shape.number, self.rate, self.replicate

    @property
    def params(self) -> Mapping[str, float]:
        """The shape's parameters."""
        return self.shape.params

    def learning_rates(self, num_steps: int) -> Float[np.ndarray, "steps"]:
        """base_lr · multipliers, in float32."""
        return np.float32(self.base_lr) * _multipliers(self.shape, num_steps)

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for every shape and learning rate of one replicate of one stage, so that
        candidates differ by what they are and not by their luck."""
        return named_key(root, self.stage, self.replicate)
