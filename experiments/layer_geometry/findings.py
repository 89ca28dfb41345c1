"""The claims of the papers about layers, each with what was measured and whether it held."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

from experiments.layer_geometry.config import BY_INDEX, SIGN_ONLY, SPECTRAL_ONLY, Config
from experiments.layer_geometry.series import Series
from experiments.study.showing.old_claims import Claim, above, below
from schedules.search import Estimate, Standing, median_change, median_estimate

INDICES = {"index": "the noise index", "curvature_index": "measured curvature"}
ALMOST_ALWAYS = 0.95


def typical(values: Float[np.ndarray, "replicates *rest"]) -> Float[np.ndarray, "replicates"]:
    """The median over everything measured in a run."""
    return np.median(values.reshape(len(values), -1), axis=1)


def layer_claims(series: Series, config: Config) -> list[Claim]:
    """What the criteria of the papers say of the measured runs."""

    def estimate(of_runs: Float[np.ndarray, "replicates"]) -> Estimate:
        return median_estimate(of_runs, config.confidence)

    claims = []
    for quantity, name in INDICES.items():
        hidden, outer = (series.of(quantity, kinds) for kinds in (("hidden",), ("embed", "head")))
        claims.append(above("spectral suits hidden matrices: log R", name, estimate(typical(hidden)), 0))
        claims.append(below("sign suits embedding and head: log R", name, estimate(typical(outer)), 0))
    agreement, correlation = estimate(_agreement(series)), estimate(_rank_correlation(series))
    spectral_rank = estimate(_share(series.of("rank_ratio", ("hidden", "head")) >= 1))
    positive = estimate(_share(series.values["cosine"] > 0))
    after_start = series.of("norm_over_bound", ("hidden",))[:, :, 1:]
    largest = estimate(np.max(after_start, axis=(1, 2)))
    return [
        *claims,
        above("noise and curvature index agree in sign: share", "all layers", agreement, 0.5),
        above("noise and curvature index: rank correlation", "all layers", correlation, 0),
        above("nuclear rank ≥ stable rank: share", "layers with inputs", spectral_rank, 0.5),
        above("γ > 0: share", "all layers", positive, ALMOST_ALWAYS),
        below("largest ‖W‖ over its bound", "hidden matrices", largest, 1),
    ]


def choice_claims(standings: Sequence[Standing], config: Config) -> list[Claim]:
    """Whether letting the index choose ends below either geometry alone, at equal tuning budget."""
    scores, scale = {standing.name: standing.winner.scores for standing in standings}, standings[0].scale
    return [
        below(
            f"{scale.noun} of {config.metric} by choosing",
            f"against {other}",
            median_change(scores[BY_INDEX], scores[other], config.confidence, scale),
            0,
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
    found = [
        stats.spearmanr(noise.ravel(), curvature.ravel()).statistic
        if np.ptp(noise) > 0 and np.ptp(curvature) > 0
        else 0.0
        for noise, curvature in pairs
    ]
    return np.array(found)
