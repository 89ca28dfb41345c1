"""What is claimed of Muon's ingredients and of what predicts its gain, and what the runs say of it."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from experiments.ingredients.config import ALL, Contestant
from experiments.ingredients.predictors import CURVATURE, NUCLEAR, RATIO, SHARE, STABLE
from experiments.ingredients.runs import Results
from experiments.ingredients.variants import ADAMW, EXACT, MUON
from experiments.study.showing.claims import Bound, Claim, above, below, not_above
from schedules.search import Estimate, Scale, median_change

ABOVE_MUON: Mapping[str, tuple[str, ...]] = MappingProxyType(  # by statement, what is to end above it
    {
        "another factor of the same norm costs": (
            *("root_spectrum", "momentum_itself", "inverted_spectrum"),
            *("random_spectrum", "random_factor", "sign"),
        ),
        "less momentum costs": ("no_momentum", "less_momentum"),
        "momentum without Nesterov's look ahead costs": ("no_nesterov",),
        "another scale than Adam's root mean square costs": ("no_scale", "width_scale", "fan_ratio_scale"),
        "to take the head too costs": ("all_matrices",),
        "to take no matrix costs": (ADAMW,),
    }
)
FROM_EXACT: Mapping[str, tuple[Bound, tuple[str, ...]]] = MappingProxyType(
    {
        "too few steps cost": (above(0), ("steps_1", "steps_2")),
        "few steps suffice": (not_above(0), ("steps_3", MUON, "steps_8")),
    }
)
CORRELATED: Mapping[str, tuple[Bound, tuple[str, ...]]] = MappingProxyType(
    {
        "goes with the gain over AdamW": (above(0), (NUCLEAR, SHARE, RATIO, CURVATURE)),
        "goes against the gain over AdamW": (below(0), (STABLE,)),
    }
)


def change(variant: str, reference: str, results: Results) -> Estimate:
    """Of the median loss, paired by seed."""
    problem = results.config.main_problem
    scores, others = (results.tuned[Contestant(problem, name)].scores for name in (variant, reference))
    return median_change(scores, others, results.config.confidence, Scale.RELATIVE)


def claims(results: Results) -> list[Claim]:
    return [*_ingredient_claims(results), *_predictor_claims(results)]


def _ingredient_claims(results: Results) -> Iterator[Claim]:
    """That each of Muon's own ingredients is better than what replaces it, and how many steps suffice."""
    compared = results.config.compared
    for statement, variants in ABOVE_MUON.items():
        for variant in (name for name in variants if name in compared):
            effect = change(variant, MUON, results)
            yield Claim(f"{statement}: change of the loss from {MUON}'s", variant, effect, above(0))
    for statement, (bound, variants) in FROM_EXACT.items():
        for variant in (name for name in variants if {name, EXACT} <= {*compared}):
            effect = change(variant, EXACT, results)
            yield Claim(f"{statement}: change of the loss from the exact factor's", variant, effect, bound)


def _predictor_claims(results: Results) -> Iterator[Claim]:
    """That what is measured before training ranks the settings by Muon's gain."""
    correlations = results.correlations[ALL]
    for statement, (bound, names) in CORRELATED.items():
        for name in names:
            yield Claim(f"{statement}: rank correlation", name, correlations.estimate(name), bound)
