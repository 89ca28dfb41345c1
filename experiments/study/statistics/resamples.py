"""Bootstrap resamples of what belongs together, such as replicates."""

import numpy as np
from jaxtyping import Int

from schedules.search.scoring import RESAMPLES


def resamples_of(count: int) -> Int[np.ndarray, "resamples {count}"]:
    """1,000 bootstrap resamples of so many; the same in every call."""
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
