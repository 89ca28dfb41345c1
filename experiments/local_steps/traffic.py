"""What a run sends and how long it would take: synchronisations, bytes and gradients by its steps."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.local_steps.config import Config, Contestant

Steps = float | Float[np.ndarray, "points"]


class Traffic(NamedTuple):
    """The communication of a contestant, per worker.

    Attributes:
      workers: K.
      start: steps of averaged gradients.
      every: H.
      gradient_share: of the local steps, that take a gradient: 1 - p.
      numbers: in one all-reduce.
      number_bytes: of each.
    """

    workers: int
    start: int
    every: int
    gradient_share: float
    numbers: int
    number_bytes: int

    def synchronisations(self, steps: Steps) -> Steps:
        """All-reduces in so many steps: one a step before the start, and then one of H steps on average."""
        early = np.minimum(steps, self.start)
        return early + (steps - early) / self.every

    def gradients(self, steps: Steps) -> Steps:
        """Gradient evaluations of a worker on average."""
        early = np.minimum(steps, self.start)
        return early + (steps - early) * self.gradient_share

    @property
    def message_bytes(self) -> float:
        """What a worker sends in one all-reduce over a ring: 2(K - 1)/K of all."""
        return 2 * (self.workers - 1) / self.workers * self.numbers * self.number_bytes

    def bytes(self, steps: Steps) -> Steps:
        """What a worker sends in so many steps."""
        return self.synchronisations(steps) * self.message_bytes

    def seconds(self, steps: Steps, gigabits: float, config: Config) -> Steps:
        """Simulated: gradients, then hops and bytes, with nothing of it at the same time; mixes take none."""
        hops = 2 * (self.workers - 1) * config.latency_seconds
        message = hops + 8e-9 * self.message_bytes / gigabits
        return self.gradients(steps) * config.gradient_seconds + self.synchronisations(steps) * message


def traffic(contestant: Contestant, config: Config, numbers: dict[str, int]) -> Traffic:
    """By how many numbers a method sends: those of all parameters, or of thin factors.

    A lonely worker stands for the first number of them, which average every gradient.
    """
    rules = contestant.rules
    return Traffic(
        config.workers[0] if rules.lonely else contestant.workers,
        config.num_steps if rules.lonely else config.start(contestant),
        contestant.every,
        1 - contestant.mix_probability,
        numbers[contestant.method if rules.family == "low_rank" else "params"],
        1 if rules.family == "signs" else 4,
    )
