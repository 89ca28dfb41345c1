"""What the confirming runs measured: steps to the target and noise scales, by variant and batch size."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.trials import group_name, noise_metric
from experiments.critical_batch_size.variants import Variant
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM, Tuned
from geometry.noise import NOISE_GEOMETRIES


class Curve(NamedTuple):
    """A variant over the batch sizes of the config.

    Attributes:
      steps: to the target, infinite where it was not reached within the run.
      noise: by geometry, the mean noise scale along each run up to the target; NaN where a run diverged
        before its second probe.
      learning_rates: the best at each batch size.
      bracketed: whether rates were tried on both sides of it.
      diverged: of the runs at each batch size, how many.
    """

    steps: Float[np.ndarray, "replicates sizes"]
    noise: Mapping[str, Float[np.ndarray, "replicates sizes"]]
    learning_rates: Float[np.ndarray, "sizes"]
    bracketed: Bool[np.ndarray, "sizes"]
    diverged: Float[np.ndarray, "sizes"]

    def samples(self, batch_sizes: tuple[int, ...]) -> Float[np.ndarray, "replicates sizes"]:
        """Examples to the target, b K(b): the calls of a stochastic first-order oracle."""
        return self.steps * np.array(batch_sizes)


def measured_curves(
    tuned: Mapping[tuple[Variant, int], Tuned], config: Config, journal: Journal
) -> dict[Variant, Curve]:
    """The curve of every variant."""
    runs: dict[str, list[Mapping[str, float]]] = {}
    for (_, group, *_), metrics in journal.metrics(CONFIRM).items():
        runs.setdefault(group, []).append(metrics)

    def curve(variant: Variant) -> Curve:
        of_sizes = [tuned[variant, size] for size in config.batch_sizes]
        confirmed = [runs[group_name(variant, size)] for size in config.batch_sizes]
        ends = np.array([[run[config.metric] for run in of_size] for of_size in confirmed])
        noise = {
            geometry.name: np.transpose(
                [
                    noise_to_target(geometry.name, of_size, found.scores, config.probed_steps(size))
                    for of_size, found, size in zip(confirmed, of_sizes, config.batch_sizes, strict=True)
                ]
            )
            for geometry in NOISE_GEOMETRIES
        }
        return Curve(
            np.transpose([found.scores for found in of_sizes]),
            noise,
            np.array([found.setting.learning_rate for found in of_sizes]),
            np.array([found.bracketed for found in of_sizes]),
            np.sum(~np.isfinite(ends), axis=1),
        )

    return {variant: curve(variant) for variant in config.variants}


def noise_to_target(
    geometry: str, runs: list[Mapping[str, float]], steps: Float[np.ndarray, "replicates"], probed: range
) -> Float[np.ndarray, "replicates"]:
    """The mean of a noise scale over a run's probes before it reached the target.

    The mean along the run, since the steps S = ∫ (1 + 𝓑/b) that an optimal descent needs at batch b give
    S = S_min (1 + mean 𝓑/b) (McCandlish et al., arXiv:1812.06162).
    """
    values = np.array([[run[noise_metric(geometry, step)] for step in probed] for run in runs])
    counted = (np.array(probed) < steps[:, None]) & np.isfinite(values)
    totals, counts = np.sum(values, axis=1, where=counted), np.sum(counted, axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)
