"""How long runs take, and what of it is for a micro-batch, an update, a measurement."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.adaptive_batch_size.config import Config
from schedules.search import Estimate


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
    """Seconds of whole runs of one contestant, by repeat.

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
