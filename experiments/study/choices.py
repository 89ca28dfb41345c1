"""Errors in what a user typed, as messages and not as tracebacks."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class StudyError(Exception):
    """Something the user can mend: the message says what was found and what is needed."""


def raise_problems(problems: Iterable[str]) -> None:
    """Raise StudyError with everything that is wrong, each once, where anything is."""
    found = list(dict.fromkeys(problems))
    if found:
        raise StudyError("\n".join(found))


def choice_problem(field: str, value: str, allowed: Collection[str]) -> str | None:
    """What is wrong with a name, with the nearest that exists; None where it exists."""
    if value in allowed:
        return None
    nearest = get_close_matches(value, allowed, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"{field}: there is no {value!r}{hint} Known: {', '.join(allowed)}."
