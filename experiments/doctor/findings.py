"""What the doctor says: a finding is a line of its report, and a probe that raises becomes one."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """A line of the report.

    Attributes:
      subject: what was looked at.
      found: what was found there.
      advice: what to do about it; empty where there is nothing to do.
      stops: whether studies cannot run, or not be trusted, before that is done.
    """

    subject: str
    found: str
    advice: str = ""
    stops: bool = False


def probed(subject: str, probe: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a probe finds; where it raises, what it found before and a finding that says so.

    >>> list(probed("disk", lambda: [Finding("free", 1 / 0)]))
    [Finding(subject='disk', found='ZeroDivisionError: division by zero', advice='', stops=True)]
    """
    try:
        yield from probe()
    except Exception as error:  # whatever a broken machine raises is a finding
        yield Finding(subject, described(error), stops=True)


def described(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
