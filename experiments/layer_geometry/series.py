"""What was measured of every layer along training, read back from the journal."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.layer_geometry.config import BY_INDEX, Config
from experiments.layer_geometry.layers import Layer
from experiments.layer_geometry.measurement import MEASURE, QUANTITIES
from experiments.study.options.errors import StudyError
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM
from geometry import parameter_norm_bounds
from optim import shape_scales


class Series(NamedTuple):
    """The measured runs.

    Attributes:
      layers: in the order of the figures.
      values: by quantity, an entry for every replicate, layer and probed step; NaN where it does not apply.
      spectral: the share of confirming runs by the index in which a layer was spectral, at each step at
        which that is recorded.
      diverged: how many measured runs were left out.
    """

    layers: tuple[Layer, ...]
    values: Mapping[str, Float[np.ndarray, "replicates layers probes"]]
    spectral: Float[np.ndarray, "layers recorded"]
    diverged: int

    def of_kinds(self, quantity: str, kinds: Sequence[str]) -> Float[np.ndarray, "replicates chosen probes"]:
        """A quantity, of the layers of these kinds."""
        return self.values[quantity][:, [layer.kind in kinds for layer in self.layers]]


def read_series(journal: Journal, layers: tuple[Layer, ...], config: Config) -> Series:
    """The measurements in the journal. Raises StudyError where fewer than two runs are finite."""
    measured = [row.metrics for row in journal.rows(MEASURE)]
    finite = [metrics for metrics in measured if np.isfinite(metrics[config.metric])]
    if len(finite) < 2:
        raise StudyError("learning_rate: nearly every measured run diverged; lower it.")
    values = {name: _along(name, config.probed_steps, finite, layers) for name in QUANTITIES}
    values["rank_ratio"] = values["nuclear_rank"] / values["stable_rank"]
    values["norm_over_bound"] = values["norm"] / _norm_bounds(values["norm"][:, :, 0], layers, config)
    confirming = [row.metrics for row in journal.group(CONFIRM, BY_INDEX)]
    spectral = np.mean(_along("spectral", config.recorded_steps, confirming, layers), axis=0)
    return Series(layers, values, spectral, len(measured) - len(finite))


def _along(
    quantity: str, steps: Sequence[int], runs: Sequence[Mapping[str, float]], layers: Sequence[Layer]
) -> Float[np.ndarray, "runs layers steps"]:
    return np.array(
        [[[run[f"{layer.name}:{quantity}@{step}"] for step in steps] for layer in layers] for run in runs]
    )


def _norm_bounds(
    initial: Float[np.ndarray, "replicates layers"], layers: Sequence[Layer], config: Config
) -> Float[np.ndarray, "replicates layers probes"]:
    """What muon's decay keeps spectral norms below, at the probed steps; NaN for the leaves that Adam has."""
    rates = config.learning_rate * config.multipliers
    weight_decay = config.decay / config.learning_rate
    bounds = np.full((*initial.shape, len(config.probed_steps)), np.nan)
    for place, layer in enumerate(layers):
        if layer.kind != "hidden":
            continue
        scale = max(shape_scales("rms", layer.view, layer.shape))
        for run, norm in enumerate(initial[:, place]):
            later = parameter_norm_bounds(norm, scale * rates, weight_decay / scale)
            bounds[run, place] = np.concatenate([[norm], later])[list(config.probed_steps)]
    return bounds
