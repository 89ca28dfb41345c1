"""What a paper claims, what was measured here, and whether it held."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from experiments.study.showing.tables import estimate_json, estimate_text
from schedules.search import Estimate

CLAIM_HEADINGS = ("claim", "of", "measured, interval", "expected", "held")


class Claim(NamedTuple):
    """A claim about one subject.

    Attributes:
      statement: what is claimed, in a few words.
      subject: of whom, such as an optimizer or a kind of layer.
      effect: what was measured, with its interval over seeds.
      expected: what the interval must lie within for the claim to hold.
      held: whether it does.
    """

    statement: str
    subject: str
    effect: Estimate
    expected: str
    held: bool


def above(statement: str, subject: str, effect: Estimate, bound: float) -> Claim:
    """The claim that an effect, and its whole interval, lies above a bound."""
    return Claim(statement, subject, effect, f"above {bound:g}", effect.low > bound)


def below(statement: str, subject: str, effect: Estimate, bound: float) -> Claim:
    """The claim that an effect, and its whole interval, lies below a bound."""
    return Claim(statement, subject, effect, f"below {bound:g}", effect.high < bound)


def claim_rows(claims: Sequence[Claim]) -> list[tuple[str, ...]]:
    """The cells under `CLAIM_HEADINGS`, claims about the same thing together."""
    return [
        (c.statement, c.subject, estimate_text(c.effect), c.expected, "yes" if c.held else "NO")
        for statement in _statements(claims)
        for c in claims
        if c.statement == statement
    ]


def summary(claims: Sequence[Claim]) -> list[str]:
    """A line for each statement: for whom it held and for whom not.

    >>> import numpy as np
    >>> lows = {"a": np.float64(2), "b": np.float64(0)}  # whose comparisons are no Python bools
    >>> claims = [above("growth", name, Estimate(2.0, low, 3.0), 1) for name, low in lows.items()]
    >>> summary(claims)
    ['growth, expected above 1: held for a; did NOT hold for b.']
    """
    lines = []
    for statement in _statements(claims):
        of = [claim for claim in claims if claim.statement == statement]
        held, failed = ([c.subject for c in of if bool(c.held) is wanted] for wanted in (True, False))
        outcome = "; ".join(
            f"{word} for {', '.join(subjects)}"
            for word, subjects in (("held", held), ("did NOT hold", failed))
            if subjects
        )
        lines.append(f"{statement}, expected {of[0].expected}: {outcome}.")
    return lines


def claims_json(claims: Iterable[Claim]) -> list[dict[str, Any]]:
    return [{**c._asdict(), "effect": estimate_json(c.effect), "held": bool(c.held)} for c in claims]


def _statements(claims: Iterable[Claim]) -> list[str]:
    return list(dict.fromkeys(claim.statement for claim in claims))
