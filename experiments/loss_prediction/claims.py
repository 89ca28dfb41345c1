"""What is claimed of the laws, each with what was measured and whether it held here."""

from collections.abc import Sequence

from experiments.loss_prediction.ranking import SUM
from experiments.loss_prediction.results import MOST, WINNER, Results, optimised, picked
from experiments.loss_prediction.trials import ANY, EQUAL
from experiments.study.showing.old_claims import Claim, above, below
from schedules.search import Scale

HIGH = 0.8  # a rank correlation
NEAR = 0.05  # a relative change of the loss; no difference is known to be small


def claims(results: Results) -> list[Claim]:
    """What a law must do to be of use to a search, of every law."""
    return [claim for law in results.laws for claim in (*_rankings(law, results), *_proposals(law, results))]


def verdict(found: Sequence[Claim], laws: Sequence[str]) -> str:
    """Whether each law is of use to a search here."""
    held = {law: [claim.held for claim in found if claim.subject == law] for law in laws}
    return " ".join(
        f"The {law} {'pays' if all(of_law) else 'does NOT pay'}: {sum(of_law)} of {len(of_law)} claims held."
        for law, of_law in held.items()
    )


def _rankings(law: str, results: Results) -> list[Claim]:
    """That it tells shapes apart where the sum of learning rates cannot, and better where it can."""
    confidence, best = results.config.confidence, f"best {results.config.best_fraction:.0%}"
    overall, among_best = results.overall, results.among_best
    return [
        above(f"rank correlation, {EQUAL}", law, overall[EQUAL].estimate(law, confidence), HIGH),
        above(f"rank correlation, {EQUAL}, {best}", law, among_best[EQUAL].estimate(law, confidence), 0),
        above(f"lead over {SUM}, {ANY}", law, overall[ANY].lead(law, SUM, confidence), 0),
        above(f"lead over {SUM}, {ANY}, {best}", law, among_best[ANY].lead(law, SUM, confidence), 0),
    ]


def _proposals(law: str, results: Results) -> list[Claim]:
    """That what it proposes comes near the winner of the measured shapes, and beats the largest sum."""
    proposed = {
        f"its pick, {EQUAL}": results.standing(EQUAL, picked(law)),
        f"its pick, {ANY}": results.standing(ANY, picked(law)),
        f"its optimum, {ANY}": results.standing(ANY, optimised(law)),
    }
    bounds = {WINNER: NEAR if results.scale is Scale.RELATIVE else 0.0, MOST: 0.0}
    return [
        below(f"loss above the {name}'s: {what}", law, standing.against[name], bound)
        for name, bound in bounds.items()
        for what, standing in proposed.items()
        if name in standing.against
    ]
