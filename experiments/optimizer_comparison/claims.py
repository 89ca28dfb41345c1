"""What is claimed of optimizers, and what the confirming runs say of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from experiments.study.showing.claims import Bound, Claim, below, not_above
from schedules.search import Standing

REFERENCE = "adamw"  # in every comparison, as what the others are compared with
ORIGINAL = "muon"  # of the variants
SCHEDULE_FREE = "schedule_free"


class Claimed(NamedTuple):
    """Of the change of the loss from a reference's."""

    statement: str
    reference: str
    bound: Bound


BETTER, NO_WORSE = (
    Claimed("better than Muon", ORIGINAL, below(0)),
    Claimed("no worse than Muon", ORIGINAL, not_above(0)),
)
VARIANTS: Mapping[str, Claimed] = MappingProxyType(  # of Muon
    {
        "muonh": BETTER,  # arXiv:2606.16899
        "normuon": BETTER,  # arXiv:2510.05491
        "muon_cautious": BETTER,  # arXiv:2510.12402
        "muonclip": NO_WORSE,  # arXiv:2507.20534
    }
)
NO_DECAY = Claimed("no worse than AdamW with a decay", REFERENCE, not_above(0))  # arXiv:2405.15682
CLAIMED: Mapping[str, Claimed] = MappingProxyType({**VARIANTS, SCHEDULE_FREE: NO_DECAY})


def claims(standings: Sequence[Standing]) -> list[Claim]:
    """Of the optimizers that are compared with the one that they are claimed to be better than."""
    judged = []
    for standing in standings:
        claimed = CLAIMED.get(standing.name)
        if claimed and claimed.reference in standing.against:
            change = standing.against[claimed.reference]
            judged.append(Claim(f"{claimed.statement}, change", standing.name, change, claimed.bound))
    return judged
