"""The critical batch of a variant: by every law, as measured, what changes it and what predicts it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.critical_batch_size.config import Config, Variant
from experiments.study.options.metrics import recorded_curves
from experiments.study.statistics.batch_law import ReplicatedFit, replicated_fit
from experiments.study.statistics.resampled import Resampled, percentile_estimate, rank_correlations
from experiments.study.training.tuning import Tuned
from geometry import HYPERBOLA, INVERSE, INVERSE_ROOT
from geometry.noise import NOISE_GEOMETRIES
from schedules.search import Estimate

FORMS = (HYPERBOLA, INVERSE_ROOT, INVERSE)


class Point(NamedTuple):
    """The confirming runs of a variant at a batch size.

    Attributes:
      tuned: the best learning rate, and the steps to the target as scores.
      noise: by geometry, the mean noise scale along each run up to the target; NaN where a run diverged
        before its second probe.
      diverged: how many runs.
    """

    variant: Variant
    batch_size: int
    tuned: Tuned
    noise: Mapping[str, Float[np.ndarray, "replicates"]]
    diverged: int

    @property
    def steps(self) -> Float[np.ndarray, "replicates"]:
        """To the target, infinite where it was not reached within the run."""
        return self.tuned.scores

    @property
    def missed(self) -> int:
        """How many runs never reached the target."""
        return int(np.sum(np.isinf(self.steps)))


Curve = Sequence[Point]  # of one variant, over the batch sizes


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
        return self.fits[name].critical_batch

    @property
    def determined(self) -> bool:
        """Whether the data bound the critical batch from both sides."""
        return bool(self.fits[HYPERBOLA.name].fit.determined)

    @property
    def best_form(self) -> str:
        """The form with the least residual."""
        return min(self.fits, key=lambda name: np.nan_to_num(self.fits[name].fit.residual, nan=np.inf))


class Effect(NamedTuple):
    """How a change of an optimizer's option changes its critical batch.

    Attributes:
      before: the variant compared with.
      after: the variant.
      ratio: its critical batch over that of the other, paired by seeds.
      theory: the ratio that the theory states; None where it states none.
    """

    before: Variant
    after: Variant
    ratio: Estimate
    theory: float | None = None


def noise_metric(geometry: str) -> str:
    """What a noise scale is called in the journal."""
    return f"noise_{geometry}"


def noise_to_target(
    geometry: str, runs: Sequence[Mapping[str, float]], steps: Float[np.ndarray, "replicates"], probed: range
) -> Float[np.ndarray, "replicates"]:
    """The mean of a noise scale over a run's probes before it reached the target.

    The mean along the run, since the steps S = ∫ (1 + 𝓑/b) that an optimal descent needs at batch b give
    S = S_min (1 + mean 𝓑/b) (McCandlish et al., arXiv:1812.06162).
    """
    values = recorded_curves(noise_metric(geometry), probed, runs)
    counted = (np.array(probed) < steps[:, None]) & np.isfinite(values)
    totals, counts = np.sum(values, axis=1, where=counted), np.sum(counted, axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def critical_batch(curve: Curve, config: Config) -> Critical:
    """Fit the laws to a measured curve, and say what predicts them."""
    sizes = np.array(config.batch_sizes)
    horizons = np.array([config.horizon(size) for size in config.batch_sizes])
    steps = np.transpose([point.steps for point in curve])
    noise = {g.name: np.transpose([point.noise[g.name] for point in curve]) for g in NOISE_GEOMETRIES}
    return Critical(
        {form.name: replicated_fit(form, sizes, steps, horizons) for form in FORMS},
        Resampled.of(lambda steps: _fewest_samples(np.median(steps, axis=-2), sizes), steps),
        {name: Resampled.of(_median_scale, scales) for name, scales in noise.items()},
    )


def momentum_effects(optimizer: str, criticals: Mapping[Variant, Critical], config: Config) -> list[Effect]:
    """The critical batch at every momentum over that at the smallest, ascending; in theory the ratio of V."""
    variants = [v for v in config.variants if v.optimizer == optimizer and not v.weight_decay]
    least, *others = sorted(variants, key=lambda variant: variant.momentum)
    return [
        Effect(least, v, batch_ratio(criticals, v, least, config), v.noise_factor / least.noise_factor)
        for v in others
    ]


def decay_effects(criticals: Mapping[Variant, Critical], config: Config) -> list[Effect]:
    """The critical batch with weight decay over that without."""
    pairs = [(v._replace(weight_decay=0.0), v) for v in config.variants if v.weight_decay]
    return [Effect(plain, v, batch_ratio(criticals, v, plain, config)) for plain, v in pairs]


def batch_ratio(
    criticals: Mapping[Variant, Critical], variant: Variant, reference: Variant, config: Config
) -> Estimate:
    """The critical batch of one variant over that of another, paired by seeds."""
    return criticals[variant].batch.over(criticals[reference].batch).estimate(config.confidence)


def _fewest_samples(
    steps: Float[np.ndarray, "*resamples sizes"], sizes: np.ndarray
) -> Float[np.ndarray, "*resamples"]:
    samples = steps * sizes
    reached = np.isfinite(samples).any(axis=-1)
    return np.where(reached, sizes[np.argmin(samples, axis=-1)], np.nan)


def _median_scale(
    scales: Float[np.ndarray, "*resamples replicates sizes"],
) -> Float[np.ndarray, "*resamples"]:
    """The median over batch sizes of the median run's, of what is not NaN."""
    masked = np.ma.masked_invalid(scales)
    return np.ma.filled(np.ma.median(np.ma.median(masked, axis=-2), axis=-1), np.nan)


OWN = "own"
PREDICTORS = (OWN, *(geometry.name for geometry in NOISE_GEOMETRIES))


class Prediction(NamedTuple):
    """How well a predictor did over all variants with a determined critical batch; first of all seeds, then
    a row for each resample of them.

    Attributes:
      ratio: the median of critical batch over prediction.
      error: the root mean square of log2 of that ratio.
      scatter: the same around the median ratio: what is left where one factor for all is allowed.
      rank_correlation: Spearman's.
    """

    ratio: Float[np.ndarray, "rows"]
    error: Float[np.ndarray, "rows"]
    scatter: Float[np.ndarray, "rows"]
    rank_correlation: Float[np.ndarray, "rows"]

    def estimate(self, quantity: str, level: float) -> Estimate:
        """Of one of these by its name."""
        return row_estimate(getattr(self, quantity), level)


def row_estimate(values: Float[np.ndarray, "rows"], level: float) -> Estimate:
    """The first with the percentile interval of the others that are known; NaN where there are none."""
    known = values[1:][np.isfinite(values[1:])]
    if not known.size or not np.isfinite(values[0]):
        return Estimate(np.nan, np.nan, np.nan)
    return percentile_estimate(values[0], known, level)


def noise_of(variant: Variant, critical: Critical, predictor: str) -> Resampled:
    """A variant's noise scale in a geometry, or in its optimizer's own."""
    return critical.noise[variant.geometry.name if predictor == OWN else predictor]


def predictions(criticals: Mapping[Variant, Critical]) -> dict[str, Prediction]:
    """Every predictor's quality over the variants."""
    known = {variant: critical for variant, critical in criticals.items() if critical.determined}
    return {
        name: quality(
            _rows([critical.batch for critical in known.values()]),
            _rows([noise_of(variant, critical, name) for variant, critical in known.items()]),
        )
        for name in PREDICTORS
    }


def quality(
    critical: Float[np.ndarray, "rows variants"], predicted: Float[np.ndarray, "rows variants"]
) -> Prediction:
    """How well the critical batches were predicted, by row; NaN where fewer than two of a row are known."""
    known = np.isfinite(critical) & np.isfinite(predicted) & (critical > 0) & (predicted > 0)
    qualities = np.full((len(Prediction._fields), len(known)), np.nan)
    for pattern in np.unique(known[known.sum(axis=1) > 1], axis=0):  # rows of the same ones at once
        rows = (known == pattern).all(axis=1)
        qualities[:, rows] = _qualities(
            *(np.compress(pattern, values[rows], axis=1) for values in (critical, predicted))
        )
    return Prediction(*qualities)


def _qualities(
    critical: Float[np.ndarray, "rows variants"], predicted: Float[np.ndarray, "rows variants"]
) -> tuple[Float[np.ndarray, "rows"], ...]:
    logs = np.log2(critical / predicted)
    median = np.median(logs, axis=1)
    correlation = rank_correlations(predicted[:, None], critical)[:, 0]
    return 2**median, _root_mean_square(logs), _root_mean_square(logs - median[:, None]), correlation


def _root_mean_square(values: Float[np.ndarray, "rows variants"]) -> Float[np.ndarray, "rows"]:
    return np.sqrt(np.mean(values**2, axis=1))


def _rows(numbers: list[Resampled]) -> Float[np.ndarray, "rows variants"]:
    """All seeds' values above those of the resamples."""
    if not numbers:
        return np.empty((1, 0))
    return np.column_stack([np.concatenate([[number.value], number.draws]) for number in numbers])
