"""What a search asks for: candidates, and the trials that measure them."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from schedules.family import Family
from schedules.interval import Interval
from schedules.search.keys import named_key


@dataclass(frozen=True, eq=False)
class Candidate:
    """A shape of a family with a base learning rate, and its number in the order asked."""

    family: Family
    number: int
    params: Mapping[str, float]
    base_lr: float

    @property
    def proposal(self) -> dict[str, Any]:
        """What it is tried with, as a JSON value that holds every bit."""
        return {"params": dict(self.params), "base_lr": self.base_lr}

    def multipliers(self, num_steps: int) -> Float[np.ndarray, "*groups steps"]:
        """The shape's table over so many steps."""
        return _multipliers(self, num_steps)


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """A family's shape parameters and the logarithm of the base learning rate, as one unit cube.

    The axes are the parameters in the family's order, then the rate. Raises ValueError where the interval of
    the learning rates is not logarithmic.
    """

    family: Family
    learning_rates: Interval

    def __post_init__(self):
        if not self.learning_rates.log:
            raise ValueError(f"learning_rates must be a logarithmic interval, got {self.learning_rates!r}")

    @property
    def dimensions(self) -> int:
        return len(self.family.space) + 1

    def candidates(self, points: Float[np.ndarray, "batch dims"], first: int) -> tuple[Candidate, ...]:
        """The candidates at points of the cube, numbered from `first`."""
        axes = np.asarray(points, np.float32)
        named = self.family.from_unit(axes[:, :-1])
        rates = np.asarray(self.learning_rates.from_unit(axes[:, -1])).tolist()
        values = {name: np.asarray(column).tolist() for name, column in named.items()}
        return tuple(
            Candidate(self.family, first + row, {name: column[row] for name, column in values.items()}, rate)
            for row, rate in enumerate(rates)
        )

    def proposals(self, points: Float[np.ndarray, "batch dims"]) -> list[dict[str, Any]]:
        """Points of the cube with their candidates, as JSON values that hold every bit."""
        candidates = self.candidates(points, 0)
        return [
            {"point": point.tolist(), **candidate.proposal}
            for point, candidate in zip(np.asarray(points), candidates, strict=True)
        ]

    def proposed(
        self, proposals: Sequence[Mapping[str, Any]], first: int
    ) -> tuple[Float[np.ndarray, "batch dims"], tuple[Candidate, ...]]:
        """The points and the candidates of `proposals`, numbered from `first`."""
        points = np.array([proposal["point"] for proposal in proposals]).reshape(-1, self.dimensions)
        return points, tuple(
            Candidate(self.family, number, proposal["params"], proposal["base_lr"])
            for number, proposal in enumerate(proposals, first)
        )

    def point(self, candidate: Candidate) -> Float[np.ndarray, "dims"]:
        """The point of the cube that stands for a candidate; what lies outside is taken to the edge."""
        space = self.family.space
        shape = [space[name].to_unit(candidate.params[name]) for name in space]
        return np.array([*shape, self.learning_rates.to_unit(candidate.base_lr)], np.float32)


@functools.lru_cache(maxsize=4096)
def _multipliers(candidate: Candidate, num_steps: int) -> Float[np.ndarray, "*groups steps"]:
    # for one shape at a time: the last bits of a batch could depend on its size; copied, for what is
    # remembered would keep a device's buffer of several times its size
    return np.array(candidate.family.multipliers(candidate.params, num_steps))


class Trial(NamedTuple):
    """One training run of a search: a candidate over a number of steps, with a replicate's keys."""

    stage: str
    candidate: Candidate
    num_steps: int
    replicate: int

    @property
    def identity(self) -> tuple[str, str, int, str, int]:
        """What makes this trial the same one in a resumed search; the fourth part is JSON."""
        candidate, label = self.candidate, json.dumps({"num_steps": self.num_steps})
        return self.stage, candidate.family.name, candidate.number, label, self.replicate

    @property
    def base_lr(self) -> float:
        return self.candidate.base_lr

    @property
    def params(self) -> Mapping[str, float]:
        """The shape's parameters."""
        return self.candidate.params

    @property
    def learning_rates(self) -> Float[np.ndarray, "*groups steps"]:
        """base_lr · multipliers, in float32."""
        return np.float32(self.base_lr) * self.candidate.multipliers(self.num_steps)

    def key(self, root: PRNGKeyArray) -> PRNGKeyArray:
        """The run's key: the same for every candidate of one replicate of one stage, so that candidates
        differ by what they are and not by their luck."""
        return named_key(root, self.stage, self.replicate)
