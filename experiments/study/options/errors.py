"""Errors in what a user typed, as messages and not as tracebacks."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
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


def option_counts(words: Sequence[str]) -> Counter[str]:
    """How often each option is typed, by its field.

    >>> option_counts(["--num-steps", "5", "--num_steps=6", "--no-quick"])
    Counter({'num_steps': 2, 'quick': 1})
    """
    options = (word[2:].partition("=")[0] for word in words if word[:2] == "--" and word != "--")
    return Counter(option.removeprefix("no-").replace("-", "_") for option in options)


def repetition_problems(words: Sequence[str]) -> list[str]:
    """What is wrong where an option is typed several times, of which the last alone would count."""
    return [f"{name}: typed {count} times." for name, count in option_counts(words).items() if count > 1]
