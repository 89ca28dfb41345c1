"""What became of a contestant: how many updates, and how much time, its batch saves on the way to a loss that
others reach too."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float

from experiments.adaptive_batch_size.config import ADAPTIVE, SMALL, Config, Contestant
from experiments.study.statistics.curves import first_reached
from experiments.study.training.tuning import Tuned
from schedules.search import Estimate, Scale, median_estimate, paired_change


class Published(NamedTuple):
    """What arXiv:2602.03001 reports of a Llama with 160M parameters, as published: validation losses by
    strategy, and the fraction of steps that the matched batch saved."""

    small: float
    large: float
    euclidean: float
    matched: float
    saved: float


PUBLISHED: Mapping[str, Published] = MappingProxyType(  # constant batches of 64 and 256
    {
        "sign_descent": Published(4.139, 3.936, 3.891, 3.840, 0.226),
        "signum": Published(3.374, 3.446, 3.384, 3.371, 0.666),
        "adamw": Published(3.299, 3.323, 3.313, 3.303, 0.671),
        "spectral_descent": Published(3.749, 3.940, 3.744, 3.729, 0.165),
        "muon": Published(3.304, 3.341, 3.318, 3.306, 0.668),
    }
)


class Pace(NamedTuple):
    """What a contestant's run takes.

    Attributes:
      run: seconds of a run, the median over repeats.
      microbatch: of them for a micro-batch; of a constant batch, for as many examples.
      update: for an update on top; 0 where the batch is constant.
      overhead: what measuring adds to the run, as a fraction, with the range over repeats; None where the
        batch is constant.
    """

    run: float
    microbatch: float
    update: float
    overhead: Estimate | None

    def along(
        self, microbatches: Float[np.ndarray, "points"], updates: Float[np.ndarray, "replicates points"]
    ) -> Float[np.ndarray, "replicates points"]:
        """The seconds that were gone after so many micro-batches and updates. Measuring is spread evenly."""
        gone = self.microbatch * microbatches + self.update * updates
        return self.run * gone / gone[:, -1:]


class Timing(NamedTuple):
    """Seconds of whole runs of one contestant, by repeat: they tell what is for a micro-batch, an update, a
    measurement.

    Attributes:
      seconds: of the run as it is studied.
      updates: how many that run made.
      fixed_small: of the same program where the batch stays small and nothing is measured; none where the
        batch is constant anyway.
      fixed_large: the same where it is large from the start.
    """

    seconds: tuple[float, ...]
    updates: int
    fixed_small: tuple[float, ...] = ()
    fixed_large: tuple[float, ...] = ()

    def pace(self, config: Config) -> Pace:
        """What the timed runs say.

        Two runs of the program that measure nothing, with known numbers of updates, tell the seconds of a
        micro-batch and of an update; what the studied run takes beyond those is for measuring.
        """
        seconds = np.array(self.seconds)
        run, microbatches = float(np.median(seconds)), config.num_microbatches
        if not self.fixed_small:
            return Pace(run, run / microbatches, 0.0, None)
        small, large = np.array(self.fixed_small), np.array(self.fixed_large)
        few, many = config.samples / config.large_batch, config.num_microbatches
        update = np.maximum(small - large, 0) / (many - few)
        microbatch = (large - few * update) / microbatches
        overhead = seconds / (microbatches * microbatch + self.updates * update) - 1
        return Pace(
            run,
            float(np.median(microbatch)),
            float(np.median(update)),
            Estimate(float(np.median(overhead)), float(overhead.min()), float(overhead.max())),
        )


COMPARED = (SMALL, *ADAPTIVE)  # at a loss that all of these reach
# of the runs of everything that is compared, at the loss where it is: the sign test's interval of paired
# savings is then finite from 9 seeds on, although some runs never come down to that loss
REACHING = 0.9

PerRun, Along = Float[np.ndarray, "replicates"], Float[np.ndarray, "replicates points"]
CostT = TypeVar("CostT")


class Curves(NamedTuple):
    """What was recorded at each of `config.curve_samples`, a row a replicate.

    Attributes:
      losses: the metric that is minimised; +inf where it is not finite.
      updates: made so far.
      batch_sizes: of the batch that is next.
      rate_factors: what multiplies the scheduled learning rate.
      noise: the average of noise² in the geometry that drives the batch; NaN before it is measured, and where
        nothing is.
      signal: that of signal².
    """

    losses: Along
    updates: Along
    batch_sizes: Along
    rate_factors: Along
    noise: Along
    signal: Along


class Confirmed(NamedTuple):
    """A contestant's confirming runs.

    Attributes:
      contestant: whose.
      tuned: its learning rate, and the scores at it.
      curves: its runs along their examples.
      seconds: the time that was gone at each point of them.
      pace: what its runs take.
    """

    contestant: Contestant
    tuned: Tuned
    curves: Curves
    seconds: Along
    pace: Pace

    @property
    def updates(self) -> float:
        """Those of a whole run, the median."""
        return float(np.median(self.curves.updates[:, -1]))

    @property
    def last_batch(self) -> float:
        """The median."""
        return float(np.median(self.curves.batch_sizes[:, -1]))

    @property
    def growth(self) -> float:
        """The last batch over the first, the median."""
        sizes = self.curves.batch_sizes
        return float(np.median(sizes[:, -1] / sizes[:, 0]))


class Costs(NamedTuple, Generic[CostT]):
    """What runs took, a value a replicate, or what is estimated of it.

    Attributes:
      updates: until they came down to the level, infinite where they did not.
      updates_in_all: by their end, whatever their loss.
      seconds: until they came down to the level.
    """

    updates: CostT
    updates_in_all: CostT
    seconds: CostT


class Outcome(NamedTuple):
    """A contestant's confirming runs beside those of the constant small batch.

    Attributes:
      runs: what is compared.
      score: the metric at the end.
      change: the score's change from the constant small batch's.
      level: the loss at which updates and time are compared.
      costs: of the runs.
      saved: the fraction of each of the constant small batch's that is saved, paired by seed.
    """

    runs: Confirmed
    score: Estimate
    change: Estimate
    level: float
    costs: Costs[PerRun]
    saved: Costs[Estimate]

    @property
    def not_reached(self) -> int:
        """How many runs never came down to the level."""
        return int(np.isinf(self.costs.updates).sum())


def outcomes_of(confirmed: Mapping[str, Confirmed], scale: Scale, config: Config) -> dict[str, Outcome]:
    """What became of an optimizer, by strategy, as the runs are given."""
    level = common_level(confirmed[strategy].curves.losses for strategy in COMPARED)
    costs = {strategy: _costs(runs, level) for strategy, runs in confirmed.items()}
    reference = confirmed[SMALL].tuned.scores

    def outcome(strategy: str, runs: Confirmed) -> Outcome:
        pairs = zip(costs[strategy], costs[SMALL], strict=True)
        return Outcome(
            runs=runs,
            score=median_estimate(runs.tuned.scores, config.confidence),
            change=paired_change(runs.tuned.scores, reference, config.confidence, scale),
            level=level,
            costs=costs[strategy],
            saved=Costs(*(saving(own, small, config.confidence) for own, small in pairs)),
        )

    return {strategy: outcome(strategy, runs) for strategy, runs in confirmed.items()}


def common_level(losses: Iterable[Along]) -> float:
    """The lowest loss that nine tenths of the runs of each come down to; infinite where some do not.

    >>> common_level([np.array([[9.0, 1.0], [9.0, 2.0], [9.0, 3.0], [9.0, 4.0]]), np.full((4, 2), 2.0)])
    4.0
    """
    return max(float(np.quantile(runs.min(axis=1), REACHING, method="inverted_cdf")) for runs in losses)


def costs_to(losses: Along, costs: Along, level: float) -> PerRun:
    """What each run had spent when its loss first came down to `level`; infinite where it did not."""
    return np.array([first_reached(*run, level) for run in zip(losses, costs, strict=True)])


def saving(costs: PerRun, reference: PerRun, confidence: float) -> Estimate:
    """The fraction of the reference's cost that is saved, the median over replicates paired by seed.

    All of it where the reference never came down to the level, and nothing where neither did. The interval is
    the sign test's; see `paired_change`.

    >>> saving(np.full(8, 30.0), np.full(8, 40.0), 0.95)
    Estimate(value=0.25, low=0.25, high=0.25)
    """
    change = paired_change(costs, reference, confidence, Scale.RELATIVE)
    return Estimate(-change.value, -change.high, -change.low)


def _costs(runs: Confirmed, level: float) -> Costs[PerRun]:
    losses, updates = runs.curves.losses, runs.curves.updates
    return Costs(
        updates=costs_to(losses, updates, level),
        updates_in_all=updates[:, -1],
        seconds=costs_to(losses, runs.seconds, level),
    )
