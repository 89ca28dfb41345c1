"""What a field may be, said in its annotation, and what is wrong where it is not."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from experiments.study.options.errors import choice_problem, raise_problems

MOST = 10_000_000  # of anything counted: lists and arrays of that length have room
KINDS = {
    int: (int, "a whole number"),
    float: (int | float, "a number"),
    str: (str, "text"),
    dict: (dict, "pairs of a name and a value"),
    tuple: (tuple, "a tuple"),
}


@dataclass(frozen=True)
class Check:
    """What a value must be, in words, and whether it is; of NaN, nothing that is asked for holds."""

    allowed: str
    holds: Callable[[Any], bool]

    def problems(self, field: str, value: Any) -> list[str]:
        return [] if self.holds(value) else [f"{field}: must be {self.allowed}, got {value}."]


@dataclass(frozen=True, eq=False)  # hashable, as annotations are
class OneOf:
    """A value, or each in a tuple, must be one of these names."""

    names: Collection[str]

    def problems(self, field: str, value: Any) -> list[str]:
        values = value if isinstance(value, tuple) else (value,)
        return [problem for name in values if (problem := choice_problem(field, name, self.names))]


def at_least(low: float) -> Check:
    return Check(f"at least {low}", lambda value: value >= low)


def at_most(high: float) -> Check:
    return Check(f"at most {high}", lambda value: value <= high)


def entries(least: int) -> Check:
    """For tuples."""
    words = "one value" if least == 1 else f"{least} values"
    return Check(f"at least {words}", lambda values: len(values) >= least)


EACH_ONCE = Check("named once each", lambda values: len(set(values)) == len(values))
ASCENDING = Check("ascending", lambda values: all(low < high for low, high in itertools.pairwise(values)))
POSITIVE = Check("positive", lambda value: value > 0)
LOWEST, HIGHEST = at_least(1e-30), at_most(1e30)  # a float32 holds them, and a factor of a million beyond

Count = Annotated[int, at_least(1), at_most(MOST)]
CountOrNone = Annotated[int, at_least(0), at_most(MOST)]
Several = Annotated[int, at_least(2), at_most(MOST)]
Positive = Annotated[float, POSITIVE, LOWEST, HIGHEST]
NotNegative = Annotated[float, Check("finite and not negative", lambda value: value >= 0), HIGHEST]
Number = Annotated[float, Check("finite", math.isfinite), at_least(-1e30), HIGHEST]
BelowOne = Annotated[float, Check("in [0, 1)", lambda value: 0 <= value < 1)]
Between = Annotated[float, Check("between 0 and 1", lambda value: 0 < value < 1), LOWEST]
# with another digit, the level of one of several intervals that hold together could be rounded to 1, or such
# an interval have no width
Confidence = Annotated[Between, at_least(0.000001), at_most(0.999999)]
RateRange = Annotated[
    tuple[float, float],
    Check(
        "two, positive, finite and ascending",  # in float32 too, where close numbers are equal
        lambda rates: len(rates) == 2 and 0 < rates[0] * 1.000001 < rates[1] < math.inf,
    ),
    Check("in [1e-30, 1e30]", lambda rates: rates[0] >= 1e-30 and rates[1] <= 1e30),
]
Seed = Annotated[int, Check("in [0, 2^32)", lambda value: 0 <= value < 2**32)]


class Checked:
    """Base of a frozen dataclass whose annotations say what each field may be, such as `Count`.

    Raises StudyError at construction, with all that is wrong at once.
    """

    def __post_init__(self):
        raise_problems(self.problems())

    def problems(self) -> list[str]:
        """What is wrong with the fields, each by itself, and then together."""
        single = [problem for name in _hints(type(self)) for problem in self._problems_of(name)]
        return [*single, *self.joint_problems()]

    def joint_problems(self) -> Iterator[str]:
        """What is wrong between fields that are `sound`."""
        yield from ()

    def sound(self, *names: str) -> bool:
        """Whether nothing is wrong with these fields by themselves."""
        return not any(self._problems_of(name) for name in names)

    def _problems_of(self, name: str) -> list[str]:
        return value_problems(name, getattr(self, name), _hints(type(self)).get(name))


def value_problems(field: str, value: Any, hint: Any) -> list[str]:
    """What is wrong with the value of a field by its annotation: the type, then each element of a tuple, then
    the checks, of which the first that fails is told.

    >>> value_problems("warmup", float("nan"), BelowOne)
    ['warmup: must be in [0, 1), got nan.']
    >>> value_problems("sizes", (8, 0), Annotated[tuple[Count, ...], entries(3)])
    ['sizes: must be at least 1, got 0.']
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, *checks = arguments
        problems = value_problems(field, value, kind)
        for check in checks:
            if not problems and isinstance(check, Check | OneOf):
                problems = check.problems(field, value)
        return problems
    if origin in (Union, UnionType):
        return [] if value is None else value_problems(field, value, arguments[0])
    if origin is Literal:
        return value_problems(field, value, Annotated[str, OneOf(arguments)])
    expected, words = KINDS.get(origin or hint, (object, ""))
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        return [f"{field}: must be {words}, got {value!r}."]
    if origin is tuple:
        found = (problem for element in value for problem in value_problems(field, element, arguments[0]))
        return list(dict.fromkeys(found))
    return []


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
