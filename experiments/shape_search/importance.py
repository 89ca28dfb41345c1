"""Which parameters the score depends on: permutation importance of a random forest.

A candidate is a point of its search space, the learning rate included. Only the better half of a family's
candidates counts: over all of them, the answer would be that a learning rate at which training diverges is
bad. So an importance says what still matters where scores are good, within what the search visited there.
Source: Breiman (2001), Random forests; the estimator of a total effect is Jansen's (1999).
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from schedules.search import Candidate, Estimate, Scale, SearchSpace

BASE_LR = "base LR"
FEWEST = 8  # candidates; fewer say nothing
# of the candidates; of the forest of each; of each coordinate there
RESAMPLES, TREES, PERMUTATIONS = 16, 5, 3


def parameter_importances(
    candidates: Sequence[Candidate],
    scores: Float[np.ndarray, "candidates"],
    space: SearchSpace,
    confidence: float = 0.95,
    scale: Scale | None = None,
) -> dict[str, Estimate]:
    """The importance of each shape parameter and of `BASE_LR` for the level of the score, its logarithm on
    the RELATIVE scale. Where none is given the scale is that of the better half.

    Empty where fewer than `FEWEST` candidates are left to learn from, or all of them score the same.
    """
    kept = better_half(scores)
    values = (scale or Scale.of(scores[kept])).levels(scores[kept])
    if len(values) < FEWEST or np.ptp(values) == 0:
        return {}
    points = np.stack([space.point(candidates[number]) for number in np.flatnonzero(kept)])
    return dict(zip([*space.family.space, BASE_LR], total_effects(points, values, confidence), strict=True))


def better_half(scores: Float[np.ndarray, "candidates"]) -> Bool[np.ndarray, "candidates"]:
    """Those that score no worse than the median and did not diverge."""
    return np.isfinite(scores) & (scores <= np.median(scores))


def total_effects(
    points: Float[np.ndarray, "count dims"], values: Float[np.ndarray, "count"], confidence: float = 0.95
) -> list[Estimate]:
    """The share of the values' variance that is lost with each coordinate: half of what permuting it adds to
    a forest's mean squared error, over the variance.

    For independent coordinates and a perfect forest that is the total effect, E Var(y | all others) / Var(y);
    a forest that has learned little finds less. Points are resampled, and each forest is judged on those that
    its resample left out. The interval is normal, from the spread over resamples times sqrt(r / (1 - r)),
    where r = 1/e is the part of the points that judges: the factor of the delete-d jackknife (Shao and Wu,
    1989).
    """
    rng = np.random.default_rng(0)
    shares = np.stack([_one_resample(points, values, rng) for _ in range(RESAMPLES)])
    mean, spread = shares.mean(axis=0), shares.std(axis=0, ddof=1)
    reach = statistics.NormalDist().inv_cdf((1 + confidence) / 2) * spread / math.sqrt(math.e - 1)
    return [Estimate(*map(float, row)) for row in zip(mean, mean - reach, mean + reach, strict=True)]


def _one_resample(points: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from sklearn.ensemble import RandomForestRegressor  # a third of what starting the search takes

    left_out = np.empty(0, int)
    while not len(left_out):  # of eight points, one resample of 400 is all of them
        drawn = rng.integers(len(values), size=len(values))
        left_out = np.setdiff1d(np.arange(len(values)), drawn)
    seed = int(rng.integers(2**31))
    forest = RandomForestRegressor(TREES, random_state=seed).fit(points[drawn], values[drawn])
    judged, dims = points[left_out], points.shape[1]
    inputs = np.tile(judged, (1 + dims * PERMUTATIONS, 1, 1))  # the first as they are
    for place in range(1, len(inputs)):
        axis = (place - 1) // PERMUTATIONS
        inputs[place, :, axis] = rng.permutation(judged[:, axis])
    predicted = forest.predict(inputs.reshape(-1, dims)).reshape(len(inputs), -1)
    errors = np.mean((predicted - values[left_out]) ** 2, axis=1)
    gained = errors[1:].reshape(dims, PERMUTATIONS).mean(axis=1) - errors[0]
    return gained / (2 * np.var(values))
