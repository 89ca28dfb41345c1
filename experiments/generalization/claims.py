"""The paper's claims on these runs: that the criterion ranks gaps, and that pruning by it pays."""

from experiments.generalization.gaps import CONTROLS, CRITERIA
from experiments.generalization.halving import PREDICTED
from experiments.generalization.results import BASELINES, CLAIMED, Results
from experiments.study.showing.old_claims import Claim, above, below


def claims(results: Results) -> list[Claim]:
    """All claims, each with what was measured."""
    return ranking_claims(results) + pruning_claims(results)


def ranking_claims(results: Results) -> list[Claim]:
    """That the criterion ranks gaps, beyond what the train size and the best of simple rivals tell."""
    rival = max(CONTROLS, key=lambda name: results.equal_size(name).value)
    ranked = [above("ranks gaps at equal n", name, results.equal_size(name), 0) for name in CRITERIA]
    better = above(f"ranks them better than {rival}", CLAIMED, results.lead(CLAIMED, rival), 0)
    by_size = [
        above("ranks gaps at one n", f"{CLAIMED}, n = {size}", correlation, 0)
        for size, correlation in results.by_size(CLAIMED).items()
    ]
    return [*ranked, better, *by_size]


def pruning_claims(results: Results) -> list[Claim]:
    """That halving by train loss + TIC/n leaves less test loss, as a relative change, than its rivals do."""
    return [
        below(f"prunes better than {rival}", standing.name, standing.against[rival], 0)
        for rival in BASELINES
        for standing in results.standings
        if standing.name in PREDICTED
    ]
