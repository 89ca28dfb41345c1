"""What was measured of every layer along training, read back from the journal, and the claims about it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from experiments.layer_geometry.config import BY_INDEX, SIGN_ONLY, SPECTRAL_ONLY, Config
from experiments.layer_geometry.measurement import MEASURE, QUANTITIES, Layer
from experiments.study.options.errors import StudyError
from experiments.study.showing.claims import Claim, above, below
from experiments.study.statistics.curves import typical
from experiments.study.storage.journal import Journal
from experiments.study.training.tuning import CONFIRM
from geometry import parameter_norm_bounds
from optim import shape_scales
from schedules.search import Standing, median_change, median_estimate


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


INDICES = {"index": "the noise index", "curvature_index": "measured curvature"}
ALMOST_ALWAYS = 0.95


def layer_claims(series: Series, config: Config) -> list[Claim]:
    """What the criteria of the papers say of the measured runs."""
    hidden = {name: typical(series.of_kinds(name, ("hidden",))) for name in INDICES}
    outer = {name: typical(series.of_kinds(name, ("embed", "head"))) for name in INDICES}
    suited = [
        judgement
        for name, criterion in INDICES.items()
        for judgement in (
            ("spectral suits hidden matrices: log R", criterion, hidden[name], above(0)),
            ("sign suits embedding and head: log R", criterion, outer[name], below(0)),
        )
    ]
    spectral_rank = _share(series.of_kinds("rank_ratio", ("hidden", "head")) >= 1)
    positive = _share(series.values["cosine"] > 0)
    largest = np.max(series.of_kinds("norm_over_bound", ("hidden",))[:, :, 1:], axis=(1, 2))
    judged = [
        *suited,
        ("noise and curvature index agree in sign: share", "all layers", _agreement(series), above(0.5)),
        ("noise and curvature index: rank correlation", "all layers", _rank_correlation(series), above(0)),
        ("nuclear rank ≥ stable rank: share", "layers with inputs", spectral_rank, above(0.5)),
        ("γ > 0: share", "all layers", positive, above(ALMOST_ALWAYS)),
        ("largest ‖W‖ over its bound", "hidden matrices", largest, below(1)),
    ]
    return [
        Claim(statement, subject, median_estimate(values, config.confidence), bound)
        for statement, subject, values, bound in judged
    ]


def choice_claims(standings: Sequence[Standing], config: Config) -> list[Claim]:
    """Whether letting the index choose ends below either geometry alone, at equal tuning budget."""
    scores, scale = {standing.name: standing.winner.scores for standing in standings}, standings[0].scale
    return [
        Claim(
            f"{scale.noun} of {config.metric} by choosing",
            f"against {other}",
            median_change(scores[BY_INDEX], scores[other], config.confidence, scale),
            below(0),
        )
        for other in (SPECTRAL_ONLY, SIGN_ONLY)
    ]


def _share(held: Bool[np.ndarray, "replicates layers probes"]) -> Float[np.ndarray, "replicates"]:
    """In each run, the share of layers × steps."""
    return np.mean(held, axis=(1, 2))


def _agreement(series: Series) -> Float[np.ndarray, "replicates"]:
    """In each run, the share of measurements in which both indices have the same sign; 0 counts as none."""
    noise, curvature = (np.sign(series.values[name]) for name in INDICES)
    return _share((noise == curvature) & (noise != 0))


def _rank_correlation(series: Series) -> Float[np.ndarray, "replicates"]:
    """In each run, Spearman's rho of the two indices over all layers and steps; 0 where one never varies."""
    pairs = zip(*(series.values[name] for name in INDICES), strict=True)
    return np.array(
        [
            stats.spearmanr(noise.ravel(), curvature.ravel()).statistic
            if np.ptp(noise) > 0 and np.ptp(curvature) > 0
            else 0.0
            for noise, curvature in pairs
        ]
    )
