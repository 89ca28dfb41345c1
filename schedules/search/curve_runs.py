"""What a model of curves is fitted to: where curves lie, and what their scores are worth.

See `schedules.search.curve_model`.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float, Int, Shaped

from schedules.search.scale import Scale, as_scores

SEGMENTS = 10
LARGE = 3.0  # heights, in their unit, from where on their order of magnitude counts
LEAST = 3  # runs that a model needs
SMALLEST = 0.02  # of the curves' scale: a learning rate far below it is as good as none
LOWEST = 1e-30  # mean rate of a whole curve


def is_enough(scores: Float[np.ndarray, "runs"]) -> bool:
    """Whether a model can be fitted to these: a few runs that did not diverge, not all alike."""
    finite = scores[np.isfinite(scores)]
    return len(finite) >= LEAST and bool(np.ptp(finite) > 0)


class Values(NamedTuple):
    """How scores become values; see the model. `sign` is -1 where scores are to be maximised."""

    scale: Scale
    sign: int
    best: float
    unit: float

    @classmethod
    def of(cls, scores: Float[np.ndarray, "runs"], maximize: bool) -> "Values":
        scale, sign = Scale.of(scores), -1 if maximize else 1
        levels = sign * scale.levels(scores)
        best = float(np.min(levels))
        heights = levels[levels > best] - best
        unit = 1.0 if scale is Scale.RELATIVE else float(np.median(heights))
        return cls(scale, sign, best, unit)

    def __call__(self, scores: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
        heights = (self.sign * self.scale.levels(scores) - self.best) / self.unit
        return np.where(heights > 0, LARGE * np.log1p(np.maximum(heights, 0) / LARGE), heights)

    def levels(
        self, mean: Float[np.ndarray, "*shape"], sd: Float[np.ndarray, "*shape"]
    ) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
        """The levels of values, and the standard deviations of those, by the slope there. Below the best
        nothing is compressed: what is not yet seen may be as far below as what was seen is above."""
        excess = np.maximum(mean, 0) / LARGE
        heights = np.where(mean > 0, LARGE * np.expm1(excess), mean)
        return self.sign * (self.best + self.unit * heights), self.unit * np.exp(excess) * sd

    def quantiles(
        self,
        mean: Float[np.ndarray, "*shape"],
        sd: Float[np.ndarray, "*shape"],
        probabilities: Float[np.ndarray, "probabilities"],
    ) -> Float[np.ndarray, "probabilities *shape"]:
        """Of the levels of normal values, exactly: a level grows with its value, but is not normal too."""
        values = mean + self.sign * np.multiply.outer(scipy.stats.norm.ppf(probabilities), sd)
        return self.levels(values, values)[0]


class Runs(NamedTuple):
    """The runs that a model is fitted to, as means: of each curve over every block of seeds.

    Seeds are one block where the same curves ran with each of them, and equally often. What runs differ by
    within a mean is then independent of all the means, so that, given the parameters, these tell of f what
    the single runs tell. The parameters are fitted to the means alone.

    Attributes:
      places: of each mean's curve, as `places_of` has them.
      values: the means.
      shares: of b in each mean, as a factor on independent normal luck of each block.
      counts: runs of each mean.
    """

    places: Float[np.ndarray, "means axes"]
    values: Float[np.ndarray, "means"]
    shares: Float[np.ndarray, "means blocks"]
    counts: Int[np.ndarray, "means"]

    @classmethod
    def of(
        cls,
        places: Float[np.ndarray, "runs axes"],
        values: Float[np.ndarray, "runs"],
        seeds: Sequence[Hashable],
    ) -> "Runs":
        numbers = {label: number for number, label in enumerate(dict.fromkeys(seeds))}
        curve, seed = _numbered(places), np.array([numbers[label] for label in seeds])
        table = np.zeros((len(numbers), curve.max() + 1), int)
        np.add.at(table, (seed, curve), 1)
        blocks = _numbered(table)
        block = blocks[seed]
        mean = _numbered(np.stack([curve, block], axis=1))
        counts = np.bincount(mean)
        distinct, shares = np.empty((len(counts), places.shape[1])), np.zeros((len(counts), blocks.max() + 1))
        distinct[mean] = places
        shares[mean, block] = 1 / np.sqrt(np.bincount(blocks))[block]
        return cls(distinct, np.bincount(mean, values) / counts, shares, counts)

    def some(self, most: int) -> "Runs":
        """At most so many of the means, evenly over their order."""
        if len(self.values) <= most:
            return self
        return Runs(*(part[np.linspace(0, len(part) - 1, most).round().astype(int)] for part in self))


def places_of(
    curves: Float[np.ndarray, "curves groups steps"], unit_rate: float
) -> Float[np.ndarray, "curves axes"]:
    """Of the first group log(mean over each segment + ε), ε = `SMALLEST` · unit_rate; of each other one the
    logarithm of its mean over all steps, and how its shape differs from the first's: in each segment, by
    log(mean over it / mean over all steps + `SMALLEST`)."""
    first, *others = np.moveaxis(curves, 1, 0)
    places = [np.log(segment_means(first) + SMALLEST * unit_rate)]
    for rates in others:
        places += [np.log(_means(rates)), _shape_logarithms(rates) - _shape_logarithms(first)]
    return np.ascontiguousarray(np.concatenate(places, axis=1))  # last bits of products go by the layout


def _shape_logarithms(curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves segments"]:
    return np.log(segment_means(curves / _means(curves)) + SMALLEST)


def _means(curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves 1"]:
    return np.maximum(curves.mean(axis=1, keepdims=True), LOWEST)


def segment_means(curves: Float[np.ndarray, "curves steps"]) -> Float[np.ndarray, "curves segments"]:
    """The mean over each of ten equal segments; a step that two share counts in both with its part.

    >>> segment_means(np.arange(20.0)[None])[0, :3].tolist()
    [0.5, 2.5, 4.5]
    """
    num_steps = curves.shape[1]
    ends = np.linspace(0, num_steps, SEGMENTS + 1)
    sums = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(curves, axis=1)], axis=1)
    whole = np.minimum(ends.astype(int), num_steps - 1)
    at_ends = sums[:, whole] + (ends - whole) * curves[:, whole]
    return np.diff(at_ends, axis=1) * SEGMENTS / num_steps


def checked(curves, scores, seeds: Sequence[Hashable], sign: int) -> tuple[np.ndarray, np.ndarray]:
    """Curves and scores that a model can be fitted to; a run that diverged has the worst other score."""
    rates, scores = learning_rates(curves), sign * as_scores(sign * np.asarray(scores))
    if scores.shape != (len(rates),) or len(seeds) != len(rates):
        raise ValueError(
            "curves must have a score and a seed each, got shapes"
            f" {np.shape(curves)}, {scores.shape} and {len(seeds)} seeds"
        )
    if not is_enough(scores):
        raise ValueError(
            f"a model needs {LEAST} runs that did not diverge and differ, got the scores {scores}"
        )
    finite = np.isfinite(scores)
    return rates, np.where(finite, scores, sign * np.max(sign * scores[finite]))


def learning_rates(curves) -> Float[np.ndarray, "curves groups steps"]:
    """Those of every step, a row a group of parameters. Raises ValueError where they are none."""
    curves = np.asarray(curves, np.float64)
    if curves.ndim not in (2, 3) or not all(curves.shape[1:]):
        raise ValueError(
            f"curves must be an array (curves, steps), got shape {curves.shape}; with groups, of three axes"
        )
    curves = curves[:, None] if curves.ndim == 2 else curves
    if not np.all((curves >= 0) & (curves < np.inf)):
        raise ValueError(
            f"curves must be finite learning rates from 0 on, got {np.min(curves)} to {np.max(curves)}"
        )
    return curves


def _numbered(rows: Shaped[np.ndarray, "rows columns"]) -> Int[np.ndarray, "rows"]:
    """The number of each row among the distinct ones, as they come."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows])
