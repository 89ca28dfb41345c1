"""What is claimed of measures of generalisation, and what the rankings say of it."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from experiments.generalization.all_measures.networks import ENVIRONMENTS
from experiments.generalization.all_measures.rankings import Ranking
from experiments.generalization.all_measures.runs import Results
from experiments.study.showing.claims import Claim, above, at_least, below, exactly
from experiments.study.statistics.resampled import percentile_estimate, rank_correlations
from geometry.measures import FAMILIES

CLAIMED_FAMILY = "confidence"
CLAIMED = ("path_norm", "inverse_square_magnitude_flatness", "hessian_top")  # as arXiv:1912.02178 finds them


def claims(results: Results) -> list[Claim]:
    """Of each environment, and of how alike they are."""
    return [
        *_regret_claims(results),
        *_order_claims(results),
        *_worst_claims(results),
        *_transfer_claim(results),
    ]


def family_regret(
    family: str, rankings: Mapping[str, Ranking]
) -> tuple[float, Float[np.ndarray, "resamples"]]:
    """The mean regret over the measures of a family, and that of each resample."""
    chosen = [rankings[name] for name in FAMILIES[family].measures]
    return (
        float(np.mean([ranking.regret.value for ranking in chosen])),
        np.mean([ranking.regret_draws for ranking in chosen], axis=0),
    )


def _regret_claims(results: Results) -> Iterator[Claim]:
    """That choosing by calibration or confidence loses least, as a successor of arXiv:2010.11924 claims."""
    families = results.config.families
    if CLAIMED_FAMILY not in families:
        return
    for environment, rankings in results.rankings.items():
        value, draws = family_regret(CLAIMED_FAMILY, rankings)
        for family in families:
            if family != CLAIMED_FAMILY:
                other, other_draws = family_regret(family, rankings)
                lead = percentile_estimate(value - other, draws - other_draws, results.config.confidence)
                yield Claim(
                    f"regret by {CLAIMED_FAMILY} from another family, {environment}", family, lead, below(0)
                )


def _order_claims(results: Results) -> Iterator[Claim]:
    """That the named measures explain errors along single settings."""
    for environment, rankings in results.rankings.items():
        for name in CLAIMED:
            if name in rankings:
                yield Claim(f"Ψ, {environment}", name, rankings[name].psi, above(0))


def _worst_claims(results: Results) -> Iterator[Claim]:
    """That no measure orders pairs better than chance in all environments (arXiv:2010.11924)."""
    for environment, rankings in results.rankings.items():
        known = [ranking.worst[0] for ranking in rankings.values() if ranking.worst]
        if known:
            least = exactly(min(known))
            yield Claim("least sign error in the worst environment", environment, least, at_least(0.5))


def _transfer_claim(results: Results) -> Iterator[Claim]:
    """That what ranks errors on images like those trained on ranks those on shifted ones."""
    measures = [results.rankings[environment].values() for environment in ENVIRONMENTS]

    def correlation(
        trained: Float[np.ndarray, "*draws measures"], shifted: Float[np.ndarray, "*draws measures"]
    ) -> Float[np.ndarray, "*draws"]:
        return rank_correlations(trained[..., None, :], shifted)[..., 0]

    value = correlation(*(np.array([ranking.psi.value for ranking in rankings]) for rankings in measures))
    draws = correlation(
        *(np.stack([ranking.psi_draws for ranking in rankings], axis=-1) for rankings in measures)
    )
    estimate = percentile_estimate(value, draws, results.config.confidence)
    yield Claim("rank correlation of Ψ as trained and Ψ shifted", "all measures", estimate, above(0))
