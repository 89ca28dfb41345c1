"""What became of a contestant: its loss, its updates and its time, beside the constant small batch's."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.adaptive_batch_size.config import ADAPTIVE, SMALL, STRATEGIES, Config
from experiments.adaptive_batch_size.curves import Curves
from experiments.adaptive_batch_size.savings import common_level, costs_to, saving
from experiments.adaptive_batch_size.strategies import Contestant
from experiments.adaptive_batch_size.timing import Pace
from experiments.study.training.tuning import Tuned
from schedules.search import Estimate, Scale, median_estimate, paired_change

COMPARED = (SMALL, *ADAPTIVE)  # at a loss that all of these reach


class Outcome(NamedTuple):
    """A contestant's confirming runs. What is saved is a fraction of what the constant small batch takes,
    paired by seed.

    Attributes:
      contestant: whose.
      tuned: its learning rate, and the scores at it.
      curves: its runs along their examples.
      seconds: the time that was gone at each point of them.
      pace: what its runs take.
      score: the metric at the end.
      change: the score's change from the constant small batch's.
      scale: of that, the same for all contestants.
      level: the loss at which updates and time are compared.
      updates_to_level: updates until a run came down to it, infinite where it did not.
      saved: the fraction of updates that is saved until there.
      saved_in_all: the same by the end of the runs, whatever their loss.
      saved_time: the fraction of seconds that is saved until the level.
    """

    contestant: Contestant
    tuned: Tuned
    curves: Curves
    seconds: Float[np.ndarray, "replicates points"]
    pace: Pace
    score: Estimate
    change: Estimate
    scale: Scale
    level: float
    updates_to_level: Float[np.ndarray, "replicates"]
    saved: Estimate
    saved_in_all: Estimate
    saved_time: Estimate

    @property
    def not_reached(self) -> int:
        """How many runs never came down to the level."""
        return int(np.isinf(self.updates_to_level).sum())

    @property
    def updates(self) -> float:
        """Those of a whole run, the median."""
        return float(np.median(self.curves.updates[:, -1]))

    @property
    def growth(self) -> float:
        """The last batch over the first, the median."""
        sizes = self.curves.batch_sizes
        return float(np.median(sizes[:, -1] / sizes[:, 0]))


def outcomes_of(
    optimizer: str,
    tuned: Mapping[str, Tuned],
    curves: Mapping[str, Curves],
    paces: Mapping[str, Pace],
    config: Config,
) -> dict[str, Outcome]:
    """What became of an optimizer, by strategy; the mappings are by the contestants' names."""
    names = {strategy: str(Contestant(optimizer, strategy)) for strategy in STRATEGIES}
    level = common_level(curves[names[strategy]].losses for strategy in COMPARED)
    microbatches = np.array(config.curve_samples) / config.small_batch
    small = names[SMALL]
    scale = Scale.of(*(contestant.scores for contestant in tuned.values()))
    seconds = {name: paces[name].along(microbatches, curves[name].updates) for name in names.values()}

    def saved(costs: Mapping[str, np.ndarray], name: str) -> Estimate:
        return saving(costs[name], costs[small], config.confidence)

    updates = {name: curves[name].updates for name in names.values()}
    updates_to_level = _costs_to(level, curves, updates)
    seconds_to_level = _costs_to(level, curves, seconds)
    in_all = {name: of[:, -1] for name, of in updates.items()}
    return {
        strategy: Outcome(
            Contestant(optimizer, strategy),
            tuned[name],
            curves[name],
            seconds[name],
            paces[name],
            median_estimate(tuned[name].scores, config.confidence),
            paired_change(tuned[name].scores, tuned[small].scores, config.confidence, scale),
            scale,
            level,
            updates_to_level[name],
            saved(updates_to_level, name),
            saved(in_all, name),
            saved(seconds_to_level, name),
        )
        for strategy, name in names.items()
    }


def _costs_to(
    level: float, curves: Mapping[str, Curves], costs: Mapping[str, np.ndarray]
) -> dict[str, Float[np.ndarray, "replicates"]]:
    return {name: costs_to(curves[name].losses, of, level) for name, of in costs.items()}
