"""How many updates, or how much time, a growing batch saves on the way to a loss that others reach too."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from experiments.study.statistics.crossing import first_reached
from schedules.search import Estimate, Scale, paired_change

# of the runs of everything that is compared, at the loss where it is: the sign test's interval of paired
# savings is then finite from 9 seeds on, although some runs never come down to that loss
REACHING = 0.9


def common_level(losses: Iterable[Float[np.ndarray, "replicates points"]]) -> float:
    """The lowest loss that nine tenths of the runs of each come down to; infinite where some do not.

    >>> common_level([np.array([[9.0, 1.0], [9.0, 2.0], [9.0, 3.0], [9.0, 4.0]]), np.full((4, 2), 2.0)])
    4.0
    """
    return max(float(np.quantile(of.min(axis=1), REACHING, method="inverted_cdf")) for of in losses)


def costs_to(
    losses: Float[np.ndarray, "replicates points"],
    costs: Float[np.ndarray, "replicates points"],
    level: float,
) -> Float[np.ndarray, "replicates"]:
    """What each run had spent when its loss first came down to `level`; infinite where it did not."""
    return np.array([first_reached(*run, level) for run in zip(losses, costs, strict=True)])


def saving(
    costs: Float[np.ndarray, "replicates"], reference: Float[np.ndarray, "replicates"], confidence: float
) -> Estimate:
    """The fraction of the reference's cost that is saved, the median over replicates paired by seed.

    All of it where the reference never came down to the level, and nothing where neither did. The interval is
    the sign test's; see `paired_change`.

    >>> saving(np.full(8, 30.0), np.full(8, 40.0), 0.95)
    Estimate(value=0.25, low=0.25, high=0.25)
    """
    change = paired_change(costs, reference, confidence, Scale.RELATIVE)
    return Estimate(-change.value, -change.high, -change.low)
