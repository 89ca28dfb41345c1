"""What is claimed of the law, each with what was measured and whether it held here."""

from experiments.loss_prediction.ranking import LAW, SUM
from experiments.loss_prediction.results import OPTIMUM, PICK, WINNER, Results
from experiments.loss_prediction.trials import ANY, EQUAL
from experiments.study.claims import Claim, above, below
from schedules.search import Estimate

HIGH = 0.8  # a rank correlation
NEAR = 0.05  # a relative change of the loss


def claims(results: Results) -> list[Claim]:
    """All of them; those of `pays` first."""
    return [*ranking_claims(results), *proposal_claims(results)]


def pays(results: Results) -> bool:
    """Whether everything held that a search would use the law for."""
    return all(claim.held for claim in claims(results))


def ranking_claims(results: Results) -> list[Claim]:
    """That the law tells shapes apart where the sum of learning rates cannot, and better where it can."""
    confidence = results.config.confidence
    equal, best = results.overall[EQUAL], results.among_best[EQUAL]
    fraction = f"{results.config.best_fraction:.0%}"
    lead, best_lead = (
        found[ANY].lead(LAW, SUM, confidence) for found in (results.overall, results.among_best)
    )
    return [
        above("rank correlation", EQUAL, equal.estimate(LAW, confidence), HIGH),
        above(f"rank correlation in the best {fraction}", EQUAL, best.estimate(LAW, confidence), 0),
        above(f"lead over {SUM}", ANY, lead, 0),
        above(f"lead over {SUM} in the best {fraction}", ANY, best_lead, 0),
    ]


def proposal_claims(results: Results) -> list[Claim]:
    """That what the law proposes comes near the winner of the measured shapes."""

    def distance(pool: str, name: str) -> Estimate:
        return results.standing(pool, name).against[WINNER]

    return [
        *(
            below(f"loss above the {WINNER}'s: {PICK}", pool, distance(pool, PICK), NEAR)
            for pool in (EQUAL, ANY)
        ),
        below(f"loss above the {WINNER}'s: {OPTIMUM}", ANY, distance(ANY, OPTIMUM), NEAR),
    ]
