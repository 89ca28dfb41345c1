"""The best learning rate as a product of powers of sizes, with intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy import stats

from experiments.study.training.tuning import Tuned
from experiments.transfer.config import Config, Size
from schedules.search import Estimate, Scale


class Optimum(NamedTuple):
    """Where the best learning rate lies; `censored` where that is the edge of what was tried, or beyond."""

    rate: float
    censored: bool


def optimum(tuned: Tuned, scale: Scale) -> Optimum:
    """The lowest point of the parabola in log η through the best rate that was tried and its neighbours.

    It lies no farther away than halfway to one of them. The best rate itself where a neighbour diverged, and
    where there is none on one side.
    """
    rates, scores = np.array(sorted((s.learning_rate, score) for s, score in tuned.screened.items())).T
    best = int(np.argmin(scores))
    neighbours = slice(best - 1, best + 2)
    levels = scale.levels(scores)[neighbours]
    if not tuned.bracketed or not np.isfinite(levels).all():
        return Optimum(float(rates[best]), not tuned.bracketed)
    return Optimum(float(np.exp(_vertex(np.log(rates[neighbours]), levels))), censored=False)


class RateLaw(NamedTuple):
    """log η = log c + Σ_k a_k log s_k.

    Attributes:
      coefficients: log c, then the exponents a_k.
      inverse: (XᵀX)⁻¹ of the sizes that it was fitted to, a row X = (1, log s_1, …) each.
      deviation: of a measured log η from the law, √(RSS / freedom).
      freedom: sizes less coefficients.

    All but the freedom is NaN where the sizes do not determine it.
    """

    coefficients: Float[np.ndarray, "coefficients"]
    inverse: Float[np.ndarray, "coefficients coefficients"]
    deviation: float
    freedom: int

    def exponents(self, confidence: float) -> list[Estimate]:
        """The a_k with the intervals of Student's distribution."""
        halves = self._half(np.diag(self.inverse), confidence)
        pairs = zip(self.coefficients[1:], halves[1:], strict=True)
        return [Estimate(float(a), float(a - half), float(a + half)) for a, half in pairs]

    def predicted(self, size: Sequence[float], confidence: float) -> Estimate:
        """The best rate at a size, with the interval of one that is measured there: also of its deviation."""
        row = np.array([1, *np.log(size)])
        level, half = row @ self.coefficients, self._half(1 + row @ self.inverse @ row, confidence)
        return Estimate(*map(float, np.exp([level, level - half, level + half])))

    def _half(self, variances: np.ndarray, confidence: float) -> np.ndarray:
        """Half the width of intervals, of variances in units of the deviation's."""
        return stats.t.ppf((1 + confidence) / 2, self.freedom) * self.deviation * np.sqrt(variances)


def fit_rate_law(sizes: Shaped[np.ndarray, "settings axes"], rates: Float[np.ndarray, "settings"]) -> RateLaw:
    """By least squares of log η.

    Args:
      sizes: positive numbers.
      rates: the best learning rate at each.
    """
    rows = np.column_stack([np.ones(len(rates)), np.log(sizes)])
    coefficients, _, rank, _ = np.linalg.lstsq(rows, np.log(rates), rcond=None)
    freedom = len(rows) - rows.shape[1]
    if rank < rows.shape[1] or freedom < 1:
        unknown = np.full((rows.shape[1], rows.shape[1]), np.nan)
        return RateLaw(unknown[0], unknown, np.nan, freedom)
    residual = np.sum((rows @ coefficients - np.log(rates)) ** 2)
    return RateLaw(coefficients, np.linalg.inv(rows.T @ rows), float(np.sqrt(residual / freedom)), freedom)


class RateFit(NamedTuple):
    """A shape's best rates, and what their law says of each without it.

    Attributes:
      optima: by size.
      law: of all sizes but the largest.
      predicted: by size, the rate by the law of all others but the largest, which is the whole law's there;
        NaN where they do not determine it.
      left_out: the sizes that the law is tested on so: all of which both are known, but the largest.
    """

    optima: Mapping[Size, Optimum]
    law: RateLaw
    predicted: Mapping[Size, Estimate]
    left_out: Sequence[Size]

    @property
    def held(self) -> int:
        """In how many of them the interval holds the best rate."""
        return sum(map(self.holds, self.left_out))

    def holds(self, size: Size) -> bool:
        """Whether the interval of what is predicted at a size holds the best rate there."""
        _, low, high = self.predicted[size]
        return low <= self.optima[size].rate <= high


def fit_rates(optima: Mapping[Size, Optimum], config: Config) -> RateFit:
    """Fit the law to what is not censored, and to that without each size in turn."""

    def law(left_out: Size) -> RateLaw:
        sizes = [s for s in config.fitted if s != left_out and not optima[s].censored]
        rows = np.array([_row(size, config) for size in sizes]).reshape(len(sizes), len(config.axes))
        return fit_rate_law(rows, np.array([optima[size].rate for size in sizes]))

    predicted = {size: law(size).predicted(_row(size, config), config.confidence) for size in config.sizes}
    known = [size for size in config.fitted if not optima[size].censored]
    left_out = [size for size in known if np.isfinite(predicted[size].value)]
    return RateFit(optima, law(config.largest), predicted, left_out)


def place_near(fit: RateFit, config: Config) -> int:
    """The half-doubling from the central rate that is the nearest to what is predicted at the largest size;
    the central one where nothing is."""
    rate = fit.predicted[config.largest].value
    return round(2 * np.log2(rate / config.centre)) if np.isfinite(rate) else 0


def _row(size: Size, config: Config) -> list[int]:
    """Its numbers that vary."""
    return [getattr(size, axis) for axis in config.axes]


def _vertex(x: Float[np.ndarray, "3"], y: Float[np.ndarray, "3"]) -> float:
    """Where the parabola through three points, the middle one not above the others, is lowest."""
    rise, next_rise = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])  # slopes
    if next_rise <= rise:
        return float(x[1])  # all three are equal
    middles = (x[0] + x[1]) / 2, (x[1] + x[2]) / 2
    return float(middles[0] - rise * (middles[1] - middles[0]) / (next_rise - rise))
