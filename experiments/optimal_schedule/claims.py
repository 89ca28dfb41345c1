"""What is claimed of the best schedules, each with what was measured and whether it held."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from experiments.optimal_schedule.outcome import Outcome, gap
from experiments.optimal_schedule.trials import MEAN_FIELD
from experiments.study.showing.old_claims import Claim, above, below
from schedules.descent import MINIMISERS
from schedules.search import Estimate

AGREEMENT = 0.01  # how far the minimisers' best losses may lie apart
NEAR = 0.01  # a descent that ends this close to the best is as good
DECEIVED = 1.0  # the mean field is called deceived where the truth is twice its promise

Rates = Float[np.ndarray, "steps"]


def schedule_claims(outcomes: Sequence[Outcome], confidence: float) -> tuple[Claim, ...]:
    """All claims, setting by setting."""
    return tuple(claim for outcome in outcomes for claim in _claims_of(outcome, confidence))


def _claims_of(outcome: Outcome, confidence: float) -> list[Claim]:
    label = outcome.setting.label
    fits = outcome.fits.values()
    nearest = min((fit.gap for fit in fits), key=lambda gap: gap.value)
    nearest_in_median = min((fit.median_gap for fit in fits), key=lambda gap: gap.value)
    claims = [
        above("gap of the nearest family to the best found", label, nearest, 0),
        above("the same in the median", label, nearest_in_median, 0),
        _agreement(outcome, confidence),
        below("last tenth over the median rate", label, _feature(outcome, _end), 1),
        below("first rate over the median rate", label, _feature(outcome, _begin), 1),
    ]
    if MEAN_FIELD in outcome.schedules:
        true = outcome.fresh[MEAN_FIELD]
        promised = np.full_like(true, outcome.schedules[MEAN_FIELD].loss)
        claims += [
            above(
                "gap of the mean field's choice to the best found",
                label,
                _gap(outcome, MEAN_FIELD, confidence),
                0,
            ),
            above(
                "loss of the mean field's choice over its promise - 1",
                label,
                gap(true, promised, confidence),
                DECEIVED,
            ),
        ]
    return claims


def _gap(outcome: Outcome, name: str, confidence: float) -> Estimate:
    return gap(outcome.fresh[name], outcome.fresh[outcome.best], confidence)


def _agreement(outcome: Outcome, confidence: float) -> Claim:
    """Of the losses that were minimised, and of those on fresh kernels."""
    (other,) = set(MINIMISERS) - {outcome.best}
    fresh = _gap(outcome, other, confidence)
    trained = outcome.schedules[other].loss / outcome.best_found.loss - 1
    held = max(trained, abs(fresh.low), abs(fresh.high)) <= AGREEMENT
    statement = "gap of the other minimiser's best to the best found"
    return Claim(statement, outcome.setting.label, fresh, f"within {AGREEMENT:g}", held)


def _feature(outcome: Outcome, feature: Callable[[Rates], float]) -> Estimate:
    """Of the best found; its interval is the range over all descents that ended within 1 % of that."""
    near = [rates for loss, rates in outcome.descents if loss <= (1 + NEAR) * outcome.best_found.loss]
    values = [feature(rates) for rates in near]
    return Estimate(feature(outcome.best_found.learning_rates), min(values), max(values))


def _end(rates: Rates) -> float:
    return float(np.mean(rates[-max(1, len(rates) // 10) :]) / np.median(rates))


def _begin(rates: Rates) -> float:
    return float(rates[0] / np.median(rates))
