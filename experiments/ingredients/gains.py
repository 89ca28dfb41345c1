"""Muon's gain over AdamW, and how what is measured before training ranks settings by it."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from experiments.study.statistics.resampled import Correlations, rank_correlations
from schedules.search import Estimate, Scale, median_change
from schedules.search.scoring import RESAMPLES

PerSeed = Float[np.ndarray, "settings replicates"]


def log_gain(
    adamw: Float[np.ndarray, "replicates"], muon: Float[np.ndarray, "replicates"], confidence: float
) -> Estimate:
    """ln(AdamW's median loss / Muon's), paired by seed.

    >>> log_gain(np.full(8, np.e), np.ones(8), 0.95).value
    1.0
    """
    return Estimate(*np.log1p(median_change(adamw, muon, confidence, Scale.RELATIVE)).tolist())


def correlated(
    predictions: Mapping[str, PerSeed], adamw: PerSeed, muon: PerSeed, confidence: float
) -> Correlations:
    """Spearman's correlation over settings of every median predictor with ln(median AdamW / median Muon).

    Each of 1,000 resamples draws settings, and the seeds, the same in all settings.
    """
    measured = np.stack(list(predictions.values()))

    def ranked(
        settings: Int[np.ndarray, "settings"], seeds: Int[np.ndarray, "replicates"]
    ) -> Float[np.ndarray, "predictors"]:
        medians, others, own = (np.median(values[..., seeds], axis=-1) for values in (measured, adamw, muon))
        return rank_correlations(medians[:, settings], np.log(others / own)[settings])

    num_settings, num_seeds = muon.shape
    random = np.random.default_rng(0)
    resampled = [
        ranked(random.integers(num_settings, size=num_settings), random.integers(num_seeds, size=num_seeds))
        for _ in range(RESAMPLES)
    ]
    values = ranked(np.arange(num_settings), np.arange(num_seeds))
    return Correlations(tuple(predictions), values, np.stack(resampled), confidence)
