"""What is claimed of variants of Muon, and what the confirming runs say of it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from experiments.study.showing.claims import Bound, Claim, below, not_above
from schedules.search import Standing

ORIGINAL = "muon"
CLAIMED: Mapping[str, Bound] = MappingProxyType(  # of the change of the loss from Muon's
    {
        "muonh": below(0),  # arXiv:2606.16899
        "normuon": below(0),  # arXiv:2510.05491
        "muon_cautious": below(0),  # arXiv:2510.12402
        "muonclip": not_above(0),  # arXiv:2507.20534
    }
)


def claims(standings: Sequence[Standing]) -> list[Claim]:
    """Of the variants that are compared with Muon."""
    return [
        Claim(f"change from {ORIGINAL}", standing.name, change, CLAIMED[standing.name])
        for standing in standings
        if standing.name in CLAIMED and (change := standing.against.get(ORIGINAL))
    ]
