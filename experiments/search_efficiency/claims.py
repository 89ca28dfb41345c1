"""What the search is expected to show, stated before any run, and whether it held here."""

import math

from experiments.search_efficiency.config import DEFAULT, RANDOM, Landscape
from experiments.search_efficiency.results import Results
from experiments.study.showing.old_claims import Claim, below
from schedules.search import Estimate

LANDSCAPE_COST = 150  # evaluations, the median of the default strategy
LANDSCAPE_FRACTION = 0.9  # of its searches that arrive within its budget
TRAINING_RATIO = 0.2  # of its median cost to that of random search


def claims(results: Results) -> list[Claim]:
    """All claims. Those on costs are about the measured values, whose intervals tell how sure they are."""
    if isinstance(results.config, Landscape):
        return [claim for family in results.config.families for claim in _on_landscape(family, results)]
    costs = [_at_most_of_random(family, results) for family in results.config.families]
    return [*costs, *_selection_bias(results)]


def _on_landscape(family: str, results: Results) -> list[Claim]:
    confidence = results.config.confidence
    default, random = (results.efficiency[family, name] for name in (DEFAULT, RANDOM))
    cost, reached = default.median_cost(confidence), default.reached(confidence)
    others = random.median_cost(confidence)
    return [
        Claim(
            f"median evaluations of {DEFAULT}",
            family,
            cost,
            f"at most {LANDSCAPE_COST}",
            cost.value <= LANDSCAPE_COST,
        ),
        Claim(
            f"fraction of {DEFAULT}'s searches within {default.budget} evaluations",
            family,
            reached,
            f"at least {LANDSCAPE_FRACTION:g}",
            reached.value >= LANDSCAPE_FRACTION,
        ),
        Claim(
            f"median evaluations of {RANDOM}",
            family,
            others,
            f"above {random.budget}",
            math.isinf(others.value),
        ),
    ]


def _at_most_of_random(family: str, results: Results) -> Claim:
    ratio = results.ratio(family, DEFAULT)
    expected, held = f"at most {TRAINING_RATIO:g}", ratio.value <= TRAINING_RATIO
    return Claim(f"cost of {DEFAULT} over {RANDOM}'s", family, ratio, expected, held)


def _selection_bias(results: Results) -> list[Claim]:
    bias, confidence = results.bias, results.config.confidence
    return [
        below("naive score of winners, relative to the truth", DEFAULT, bias.naive, 0),
        Claim(
            "fresh score of winners, relative to the truth",
            DEFAULT,
            bias.fresh,
            "interval holds 0",
            _holds(bias.fresh, 0.0),
        ),
        Claim(
            "fraction of fresh intervals that hold the truth",
            DEFAULT,
            bias.coverage,
            f"interval holds {confidence:g}",
            _holds(bias.coverage, confidence),
        ),
    ]


def _holds(estimate: Estimate, value: float) -> bool:
    return estimate.low <= value <= estimate.high
