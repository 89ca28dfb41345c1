"""What is claimed of Muon's ingredients and of what predicts its gain, and what the runs say of it."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from experiments.ingredients.config import ALL, Contestant
from experiments.ingredients.predictors import CURVATURE, NUCLEAR, RATIO, SHARE, STABLE
from experiments.ingredients.runs import Results
from experiments.ingredients.variants import ADAMW, EXACT, MUON
from experiments.study.showing.claims import Bound, Claim, above, below, not_above
from experiments.study.statistics.fractions import fraction_estimate
from schedules.search import Estimate, Scale, median_change

Claimed = Mapping[str, tuple[Bound, tuple[str, ...]]]  # by statement, of whom it is claimed

FROM_MUON: Claimed = MappingProxyType(
    {
        "another factor of the same norm costs": (
            above(0),
            ("root_spectrum", "momentum_itself", "random_factor", "sign"),
        ),
        "a random or inverted spectrum serves as well": (
            not_above(0),
            ("inverted_root", "inverted_spectrum", "random_spectrum"),
        ),
        "less momentum costs": (above(0), ("no_momentum", "less_momentum")),
        "momentum without Nesterov's look ahead costs": (above(0), ("no_nesterov",)),
        "another scale than Adam's root mean square costs": (
            above(0),
            ("no_scale", "width_scale", "fan_ratio_scale"),
        ),
        "to take the head too costs": (above(0), ("all_matrices",)),
        "to take no matrix costs": (above(0), (ADAMW,)),
    }
)
FROM_EXACT: Claimed = MappingProxyType(
    {
        "too few steps cost": (above(0), ("steps_1", "steps_2")),
        "few steps suffice": (not_above(0), ("steps_3", MUON, "steps_8")),
    }
)
CORRELATED: Claimed = MappingProxyType(
    {
        "goes with the gain over AdamW": (above(0), (NUCLEAR, SHARE, RATIO, CURVATURE)),
        "goes against the gain over AdamW": (below(0), (STABLE,)),
    }
)
SIGNED = (RATIO, CURVATURE)  # which compare a spectral step with another, in logarithms


def change(variant: str, reference: str, results: Results) -> Estimate:
    """Of the median loss, paired by seed."""
    problem = results.config.main_problem
    scores, others = (results.tuned[Contestant(problem, name)].scores for name in (variant, reference))
    return median_change(scores, others, results.config.confidence, Scale.RELATIVE)


def claims(results: Results) -> list[Claim]:
    return [
        *_ingredient_claims(FROM_MUON, MUON, results),
        *_ingredient_claims(FROM_EXACT, EXACT, results),
        *_predictor_claims(results),
        *_sign_claims(results),
    ]


def _ingredient_claims(claimed: Claimed, reference: str, results: Results) -> Iterator[Claim]:
    """That each of Muon's own ingredients is better than what replaces it, and what need not be so."""
    for statement, (bound, variants) in claimed.items():
        for variant in (name for name in variants if {name, reference} <= {*results.config.compared}):
            effect = change(variant, reference, results)
            yield Claim(f"{statement}: change of the loss from {reference}", variant, effect, bound)


def _predictor_claims(results: Results) -> Iterator[Claim]:
    """That what is measured before training ranks the settings by Muon's gain."""
    correlations = results.correlations[ALL]
    for statement, (bound, names) in CORRELATED.items():
        for name in names:
            yield Claim(f"{statement}: rank correlation", name, correlations.estimate(name), bound)


def _sign_claims(results: Results) -> Iterator[Claim]:
    """That Muon gains where they are positive, more often than the same answer to all settings is right."""
    settings, confidence = results.config.settings, results.config.confidence
    gaining = np.array([results.gain(problem).value > 0 for problem in settings])
    commoner = max(np.mean(gaining), np.mean(~gaining))
    for name in SIGNED:
        positive = np.array([np.median(results.measured[problem][name]) > 0 for problem in settings])
        effect = fraction_estimate(int(np.sum(positive == gaining)), len(settings), confidence)
        bound = above(round(float(commoner), 3))
        yield Claim("its sign tells whether Muon gains: share of settings", name, effect, bound)
