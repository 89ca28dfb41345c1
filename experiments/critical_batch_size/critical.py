"""The critical batch of a variant: by every law, as measured, and as its noise scales predict it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.measured import Curve
from experiments.study.statistics.batch_law import (
    ReplicatedFit,
    positive_estimate,
    replicated_fit,
    resamples_of,
)
from geometry import HYPERBOLA, INVERSE, INVERSE_ROOT
from schedules.search import Estimate

FORMS = (HYPERBOLA, INVERSE_ROOT, INVERSE)


class Resampled(NamedTuple):
    """A positive number, and what it is on every resample of the seeds; NaN where it is not known."""

    value: float
    draws: Float[np.ndarray, "resamples"]

    def over(self, other: "Resampled") -> "Resampled":
        """The ratio, paired by resample; not known where either is zero, infinite or not known itself."""
        return Resampled(float(_ratio(self.value, other.value)), _ratio(self.draws, other.draws))

    def estimate(self, confidence: float) -> Estimate:
        return positive_estimate(self.value, self.draws, confidence)


def _ratio(numbers: ArrayLike, others: ArrayLike) -> ArrayLike:
    determined = np.isfinite(numbers) & np.isfinite(others) & (np.minimum(numbers, others) > 0)
    return np.where(determined, numbers, np.nan) / np.where(determined, others, np.nan)


class Critical(NamedTuple):
    """What is known of a variant's critical batch.

    Attributes:
      fits: of every form in `FORMS`, by its name.
      fewest_samples: the batch size whose median run took the fewest samples; NaN where no median run
        reached the target.
      noise: by geometry, the median over batch sizes of the median run's noise scale.
    """

    fits: Mapping[str, ReplicatedFit]
    fewest_samples: Resampled
    noise: Mapping[str, Resampled]

    @property
    def batch(self) -> Resampled:
        """The critical batch that everything is compared by: the hyperbola's, which no data rule out."""
        return self.by_form(HYPERBOLA.name)

    def by_form(self, name: str) -> Resampled:
        found = self.fits[name]
        return Resampled(float(found.fit.critical_batch), np.asarray(found.resampled.critical_batch))

    @property
    def determined(self) -> bool:
        """Whether the data bound the critical batch from both sides."""
        return bool(self.fits[HYPERBOLA.name].fit.determined)

    @property
    def best_form(self) -> str:
        """The form with the least residual."""
        return min(self.fits, key=lambda name: np.nan_to_num(self.fits[name].fit.residual, nan=np.inf))


def critical_batch(curve: Curve, config: Config) -> Critical:
    """Fit the laws to a measured curve, and say what predicts them."""
    sizes = np.array(config.batch_sizes)
    horizons = np.array([config.horizon(size) for size in config.batch_sizes])
    return Critical(
        {form.name: replicated_fit(form, sizes, curve.steps, horizons) for form in FORMS},
        _resampled(lambda medians: _fewest_samples(medians, sizes), curve.steps, np.median),
        {name: _resampled(_median_known, values, _median_known) for name, values in curve.noise.items()},
    )


def _resampled(
    statistic: Callable[[np.ndarray], np.ndarray],
    values: Float[np.ndarray, "replicates sizes"],
    middle: Callable[..., np.ndarray],
) -> Resampled:
    """`statistic` of the middle run at each batch size, of all replicates and of each resample of them."""
    draws = resamples_of(len(values))
    return Resampled(float(statistic(middle(values, axis=0))), statistic(middle(values[draws], axis=1)))


def _fewest_samples(
    steps: Float[np.ndarray, "*resamples sizes"], sizes: np.ndarray
) -> Float[np.ndarray, "*resamples"]:
    samples = steps * sizes
    reached = np.isfinite(samples).any(axis=-1)
    return np.where(reached, sizes[np.argmin(samples, axis=-1)], np.nan)


def _median_known(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The median of what is not NaN."""
    masked = np.ma.median(np.ma.masked_invalid(values), axis=axis)
    return np.ma.filled(masked, np.nan)
