"""The claims of the papers about layers, each with what was measured."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from experiments.layer_geometry.config import BY_INDEX, SIGN_ONLY, SPECTRAL_ONLY, Config
from experiments.layer_geometry.series import Series
from experiments.study.showing.claims import Claim, above, below
from experiments.study.statistics.typical import typical
from schedules.search import Standing, median_change, median_estimate

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
