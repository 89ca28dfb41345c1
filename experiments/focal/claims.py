"""What is claimed of calibration: of the focal loss and its sharpness, and of losses over environments."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from experiments.focal.config import CROSS_ENTROPY, ERM, Focal, Invariant
from experiments.focal.runs import SHARPNESS, Contestant, Results
from experiments.study.showing.claims import Claim, above, below
from experiments.study.statistics.resampled import Correlations, cluster_resamples, correlations
from experiments.study.training.cross_validation import of_condition
from experiments.study.training.tasks import DIGITS
from schedules.search import median_difference

CONSISTENT = "ib_irm"  # of the losses over environments


def claims(results: Results) -> list[Claim]:
    return [
        *_sharpness_claims(results),
        *_focal_claims(results),
        *_environment_claims(results),
        *_consistency_claims(results),
    ]


def ece(
    contestant: Contestant, conditions: tuple[str, ...], results: Results
) -> Float[np.ndarray, "conditions replicates"]:
    """Of each confirming run, under each of these conditions."""
    metrics = results.outcomes[contestant].metrics
    return np.array([metrics[of_condition("ece", condition)] for condition in conditions])


def mean_ece(
    contestant: Contestant, conditions: tuple[str, ...], results: Results
) -> Float[np.ndarray, "replicates"]:
    """Over these conditions, of each confirming run."""
    return np.mean(ece(contestant, conditions, results), axis=0)


def worst_ece(contestant: Invariant, results: Results) -> Float[np.ndarray, "replicates"]:
    """Of each confirming run, in the environment where it is largest."""
    return np.max(ece(contestant, results.config.coloured.conditions, results), axis=0)


def chosen(results: Results) -> dict[str, Invariant]:
    """By method, the weight of the least validation loss."""

    def best(method: str) -> Invariant:
        tried = [contestant for contestant in results.config.invariant if contestant.method == method]
        return min(tried, key=lambda contestant: results.outcomes[contestant].tuned.chosen_by)

    return {contestant.method: best(contestant.method) for contestant in results.config.invariant}


def sharpness_ranks(results: Results) -> Mapping[str, Correlations]:
    """How every measure of sharpness ranks γ, and the ECE, over all confirming runs.

    A replicate's runs, which differ in γ alone, are resampled together.
    """
    focal = results.config.focal
    replicates = np.tile(np.arange(results.config.confirm_replicates), len(focal))
    draws = cluster_resamples(replicates)

    measures = {
        name: np.concatenate([results.outcomes[contestant].metrics[name] for contestant in focal])
        for name in SHARPNESS
    }
    gammas = np.repeat([contestant.gamma for contestant in focal], results.config.confirm_replicates)
    calibrations = {"ECE": DIGITS.trained, "shifted ECE": DIGITS.shifted}
    ranked = {"γ": gammas} | {
        name: np.concatenate([mean_ece(contestant, conditions, results) for contestant in focal])
        for name, conditions in calibrations.items()
    }
    rows = np.arange(len(gammas))
    return {
        name: correlations(measures, values, rows, draws, results.config.confidence)
        for name, values in ranked.items()
    }


def _sharpness_claims(results: Results) -> Iterator[Claim]:
    """That λ_max and trace fall with γ, and that calibration follows them."""
    ranks = sharpness_ranks(results)
    for name in SHARPNESS:
        yield Claim("rank correlation with γ", name, ranks["γ"].estimate(name), below(0))
    for calibration in ("ECE", "shifted ECE"):
        for name in SHARPNESS:
            effect = ranks[calibration].estimate(name)
            yield Claim(f"rank correlation with {calibration}", name, effect, above(0))


def _focal_claims(results: Results) -> Iterator[Claim]:
    """That the focal loss calibrates better than the cross-entropy, in distribution and shifted."""
    reference = Focal(CROSS_ENTROPY)
    for place, conditions in (("in distribution", DIGITS.trained), ("shifted", DIGITS.shifted)):
        for contestant in results.config.focal:
            if contestant != reference:
                own, others = (mean_ece(c, conditions, results) for c in (contestant, reference))
                effect = median_difference(own, others, results.config.confidence)
                yield Claim(f"ECE from the cross-entropy's, {place}", contestant.name, effect, below(0))


def _environment_claims(results: Results) -> Iterator[Claim]:
    """That invariance calibrates, and errs less, where the colour misleads most."""
    reference, last = Invariant(ERM, 0.0), results.config.coloured.conditions[-1]
    for contestant in results.config.invariant[1:]:
        own, others = (ece(c, (last,), results)[0] for c in (contestant, reference))
        effect = median_difference(own, others, results.config.confidence)
        yield Claim(f"ECE from erm's, {last}", contestant.name, effect, below(0))
    for contestant in results.config.invariant[1:]:
        own, others = (results.outcomes[c].errors[last] for c in (contestant, reference))
        effect = own.lead(others, results.config.confidence)
        yield Claim(f"error from erm's, {last}", contestant.name, effect, below(0))


def _consistency_claims(results: Results) -> Iterator[Claim]:
    """That IB-IRM is calibrated most consistently across environments, each at its weight by validation."""
    by_method = chosen(results)
    if CONSISTENT not in by_method:
        return
    own = worst_ece(by_method[CONSISTENT], results)
    for method, contestant in by_method.items():
        if method != CONSISTENT:
            effect = median_difference(own, worst_ece(contestant, results), results.config.confidence)
            yield Claim(f"worst ECE by {CONSISTENT} from another's", contestant.name, effect, below(0))
