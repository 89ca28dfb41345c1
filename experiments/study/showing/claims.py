"""What a paper claims, what was measured, and whether it held: a bound decides both words and verdict."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from experiments.study.showing.table import Table, column
from schedules.search import Estimate


class Bound(NamedTuple):
    """What an effect must be for a claim to hold, in words, and whether it is."""

    words: str
    holds: Callable[[Estimate], bool]


def above(bound: float) -> Bound:
    """With its whole interval."""
    return Bound(f"above {bound:g}", lambda effect: effect.low > bound)


def below(bound: float) -> Bound:
    """With its whole interval."""
    return Bound(f"below {bound:g}", lambda effect: effect.high < bound)


def not_above(bound: float) -> Bound:
    """With its whole interval."""
    return Bound(f"not above {bound:g} with its interval", lambda effect: effect.low <= bound)


def at_most(bound: float) -> Bound:
    """Of the value alone; its interval tells how sure that is."""
    return Bound(f"at most {bound:g}", lambda effect: effect.value <= bound)


def at_least(bound: float) -> Bound:
    """Of the value alone; its interval tells how sure that is."""
    return Bound(f"at least {bound:g}", lambda effect: effect.value >= bound)


def within(low: float, high: float) -> Bound:
    """Of the value alone; its interval tells how sure that is."""
    return Bound(f"from {low:g} to {high:g}", lambda effect: low <= effect.value <= high)


def holds(value: float) -> Bound:
    """Of the interval."""
    return Bound(f"interval holds {value:g}", lambda effect: effect.low <= value <= effect.high)


def exactly(value: float) -> Estimate:
    """An effect that is counted, and has no interval."""
    return Estimate(value, value, value)


class Claim(NamedTuple):
    """A claim about one subject.

    Attributes:
      statement: what is claimed, in a few words.
      subject: of whom, such as an optimizer or a kind of layer.
      effect: what was measured, with its interval over seeds.
      bound: what the effect must be for the claim to hold.
    """

    statement: str
    subject: str
    effect: Estimate
    bound: Bound

    @property
    def held(self) -> bool:
        return bool(self.bound.holds(self.effect))


def claims_table(claims: Sequence[Claim]) -> Table[Claim]:
    """Claims about the same thing together."""
    statements = _statements(claims)
    return Table(
        "claims",
        (
            column("claim", statement=lambda claim: claim.statement, wrapped=True),
            column("of", subject=lambda claim: claim.subject, wrapped=True),
            column("measured, interval", effect=lambda claim: claim.effect),
            column("expected", expected=lambda claim: claim.bound.words),
            column("held", held=lambda claim: claim.held),
        ),
        sorted(claims, key=lambda claim: statements.index(claim.statement)),
        title="Claims",
    )


def summary(claims: Sequence[Claim]) -> list[str]:
    """A line for each statement: for whom it held and for whom not.

    >>> lows = {"a": 2.0, "b": 0.0}
    >>> claims = [Claim("growth", name, Estimate(2.0, low, 3.0), above(1)) for name, low in lows.items()]
    >>> summary(claims)
    ['growth, expected above 1: held for a; did NOT hold for b.']
    """
    lines = []
    for statement in _statements(claims):
        judged = [claim for claim in claims if claim.statement == statement]
        outcomes = {
            "held": [claim.subject for claim in judged if claim.held],
            "did NOT hold": [claim.subject for claim in judged if not claim.held],
        }
        told = "; ".join(f"{words} for {', '.join(names)}" for words, names in outcomes.items() if names)
        lines.append(f"{statement}, expected {judged[0].bound.words}: {told}.")
    return lines


def tally(claims: Sequence[Claim]) -> str:
    """How many held."""
    return f"{sum(claim.held for claim in claims)} of {len(claims)} claims held."


def _statements(claims: Sequence[Claim]) -> list[str]:
    return list(dict.fromkeys(claim.statement for claim in claims))
