"""What was measured of every layer along training, read back from the journal."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.layer_geometry.config import BY_INDEX, Config
from experiments.layer_geometry.layers import Layer
from experiments.layer_geometry.measurement import MEASURE, QUANTITIES
from experiments.study.options.errors import StudyError
from experiments.study.running.runs import UnfinishedStudy
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM
from geometry import parameter_norm_bounds
from optim import shape_scales

SURE = (
    10.0  # an index beyond it, infinite where one geometry is sure of nothing, is drawn and averaged as this
)


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
    spectral: Float[np.ndarray, "layers looks"]
    diverged: int

    def of(self, quantity: str, kinds: Sequence[str]) -> Float[np.ndarray, "replicates chosen probes"]:
        """A quantity, of the layers of these kinds."""
        return self.values[quantity][:, [layer.kind in kinds for layer in self.layers]]


def read_series(journal: Journal, layers: tuple[Layer, ...], config: Config) -> Series:
    """The measurements in the journal.

    Raises:
      UnfinishedStudy: measured runs are missing.
      StudyError: fewer than two of them are finite.
    """
    rows = list(journal.metrics(MEASURE).values())
    if len(rows) < config.replicates:
        raise UnfinishedStudy(f"{config.replicates - len(rows)} measured runs are missing")
    finite = [row for row in rows if np.isfinite(row[config.metric])]
    if len(finite) < 2:
        raise StudyError("learning_rate: nearly every measured run diverged; lower it.")

    def table(quantity: str) -> np.ndarray:
        return np.array(
            [
                [[row[f"{layer.name}:{quantity}@{step}"] for step in config.probed_steps] for layer in layers]
                for row in finite
            ]
        )

    values = {quantity: table(quantity) for quantity in QUANTITIES}
    values["rank_ratio"] = values["nuclear_rank"] / values["stable_rank"]
    values["norm_over_bound"] = values["norm"] / _norm_bounds(values["norm"][:, :, 0], layers, config)
    return Series(layers, values, _share_spectral(journal, layers, config), len(rows) - len(finite))


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
            after = parameter_norm_bounds(norm, scale * rates, weight_decay / scale)
            bounds[run, place] = np.concatenate([[norm], after])[list(config.probed_steps)]
    return bounds


def _share_spectral(
    journal: Journal, layers: Sequence[Layer], config: Config
) -> Float[np.ndarray, "layers looks"]:
    runs = [row for (_, way, *_), row in journal.metrics(CONFIRM).items() if way == BY_INDEX]
    if not runs:
        raise UnfinishedStudy(f"the confirming runs {BY_INDEX} are missing")
    return np.array(
        [
            [
                np.mean([run[f"{layer.name}:spectral@{step}"] for run in runs])
                for step in config.looked_at_steps
            ]
            for layer in layers
        ]
    )
