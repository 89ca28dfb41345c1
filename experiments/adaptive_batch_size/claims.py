"""The claims of arXiv:2602.03001, each with what was measured and whether it held here."""

from collections.abc import Mapping

from experiments.adaptive_batch_size.config import ADAPTIVE, EUCLIDEAN_DRIVEN, LARGE, MATCHED, SMALL
from experiments.adaptive_batch_size.outcome import Outcome
from experiments.adaptive_batch_size.savings import saving
from experiments.study.showing.old_claims import Claim, above, below
from schedules.search import Scale, paired_change

NO_WORSE = 0.1  # the relative change of the loss that still counts as none


def no_worse(scale: Scale) -> float:
    """The change of the loss that still counts as none; no difference does."""
    return NO_WORSE if scale is Scale.RELATIVE else 0.0


def claims_about(
    optimizer: str, outcomes: Mapping[str, Outcome], metric: str, confidence: float
) -> list[Claim]:
    """What is claimed of an optimizer, given what became of it by strategy."""
    small, large, matched = (outcomes[strategy] for strategy in (SMALL, LARGE, MATCHED))
    more = saving(matched.updates_to_level, outcomes[EUCLIDEAN_DRIVEN].updates_to_level, confidence)

    def final_change(outcome: Outcome, reference: Outcome):
        return paired_change(outcome.tuned.scores, reference.tuned.scores, confidence, small.scale)

    return [
        above(
            f"share of {SMALL}'s updates saved at equal {metric} by {MATCHED}", optimizer, matched.saved, 0
        ),
        above(f"share of {EUCLIDEAN_DRIVEN}'s updates saved there by {MATCHED}", optimizer, more, 0),
        below(
            f"{small.scale.noun} of final {metric} from {SMALL} to {MATCHED}",
            optimizer,
            final_change(matched, small),
            no_worse(small.scale),
        ),
        below(
            f"{small.scale.noun} of final {metric} from {EUCLIDEAN_DRIVEN} to {MATCHED}",
            optimizer,
            final_change(matched, outcomes[EUCLIDEAN_DRIVEN]),
            0,
        ),
        *(
            above(
                f"{small.scale.noun} of final {metric} from {strategy} to {LARGE}",
                optimizer,
                final_change(large, outcomes[strategy]),
                0,
            )
            for strategy in ADAPTIVE
        ),
    ]
