"""What is claimed of variants of Muon, and what the confirming runs say of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from experiments.study.showing.claims import Bound, Claim, below, not_above
from schedules.search import Standing

ORIGINAL = "muon"
BETTER, NO_WORSE = ("better than Muon", below(0)), ("no worse than Muon", not_above(0))
CLAIMED: Mapping[str, tuple[str, Bound]] = MappingProxyType(  # of the change of the loss from Muon's
    {
        "muonh": BETTER,  # arXiv:2606.16899
        "normuon": BETTER,  # arXiv:2510.05491
        "muon_cautious": BETTER,  # arXiv:2510.12402
        "muonclip": NO_WORSE,  # arXiv:2507.20534
    }
)


def claims(standings: Sequence[Standing]) -> list[Claim]:
    """Of the variants that are compared with Muon."""
    judged = []
    for standing in standings:
        if standing.name in CLAIMED and ORIGINAL in standing.against:
            statement, bound = CLAIMED[standing.name]
            judged.append(Claim(f"{statement}, change", standing.name, standing.against[ORIGINAL], bound))
    return judged
