"""What a contestant at its best shows: its losses, and what it costs to get to ddp's loss."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.local_steps.config import Config, Contestant
from experiments.local_steps.traffic import Traffic
from experiments.study.statistics.curves import first_reached
from experiments.study.training.tuning import Tuned
from schedules.search import Estimate, Scale, median_change, median_estimate


class Outcome(NamedTuple):
    """A contestant at its best.

    Attributes:
      contestant: what was tuned.
      tuned: its setting and the scores of the confirming runs.
      traffic: what it sends.
      curves: the metric of each confirming run, at each of `config.curve_steps`.
      drift: how far workers are from their mean, over its norm, averaged along a run: the median of runs.
      reference: the ddp that it is compared with; None for ddp itself.
    """

    contestant: Contestant
    tuned: Tuned
    traffic: Traffic
    curves: Float[np.ndarray, "replicates points"]
    drift: float
    reference: "Outcome | None"

    @property
    def curve(self) -> Float[np.ndarray, "points"]:
        """That of the median over confirming runs."""
        return np.median(self.curves, axis=0)

    def change(self, config: Config) -> Estimate | None:
        """Of the median score against the reference's, relative."""
        if self.reference is None:
            return None
        scores, others = self.tuned.scores, self.reference.tuned.scores
        return median_change(scores, others, config.confidence, Scale.RELATIVE)

    def share(self, cost: Callable[[Traffic, float], float], config: Config) -> Estimate:
        """What the final median loss of the reference costs, as a share of what its whole run costs."""
        reference = self if self.reference is None else self.reference
        target, whole = np.median(reference.tuned.scores), cost(reference.traffic, config.num_steps)
        steps = [first_reached(curve, config.curve_steps, target) for curve in self.curves]
        shares = [cost(self.traffic, step) / whole if np.isfinite(step) else np.inf for step in steps]
        return median_estimate(np.array(shares), config.confidence)
