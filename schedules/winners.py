"""The winners of a search on disk: `winners.json`, and its way back to a schedule."""

import json
import reprlib
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from schedules.families import FAMILIES
from schedules.family import Family

FORMAT = "steepest winners 1"


class LoadedWinner(NamedTuple):
    """A family, its shape parameters, and the learning rate and horizon they were found with; where groups of
    parameters have a curve each, also what every group has of these, by name.

    `winner.family.schedule(winner.params, winner.base_lr, num_steps)` is an optax schedule for any horizon.
    """

    family: Family
    params: Mapping[str, float]
    base_lr: float
    num_steps: int
    groups: Mapping[str, "LoadedWinner"] = MappingProxyType({})


def load_winner(path: str | Path, family: str | None = None, group: str | None = None) -> LoadedWinner:
    """The best winner in a `winners.json`, or that of one family.

    Args:
      group: of parameters, whose schedule it is; needed where they were searched with one each.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be read or is not a search's winners, or holds none of that family or group.
    """
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{path}: cannot be read, {error.strerror}") from None
    return parse_winner(text, path, family, group)


def parse_winner(
    text: str | bytes, path: str | Path, family: str | None = None, group: str | None = None
) -> LoadedWinner:
    """The same from the content of the file at `path`, which error messages name."""
    content = _parsed(text, Path(path))
    winners = {entry["family"]: entry for entry in content["winners"]}
    name = next(iter(winners)) if family is None else family
    if name not in winners:
        nearest = get_close_matches(name, winners, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"{path}: no winner of family {name!r} among {list(winners)}{hint}")
    if name not in FAMILIES:
        raise ValueError(f"{path}: family {name!r} is not one of {list(FAMILIES)}")
    entry = winners[name]
    try:
        found = FAMILIES[name].with_options(**entry["options"])
        shapes = entry.get("group_params", {})
        for params in (entry["params"], *shapes.values()):
            found.check(params)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    winner = LoadedWinner(found, entry["params"], entry["base_lr"], content["num_steps"])
    groups = {
        name: winner._replace(params=shapes.get(name, winner.params), base_lr=winner.base_lr * factor)
        for name, factor in entry.get("groups", {}).items()
    }
    loaded = groups or {None: winner}
    if group not in loaded:
        raise ValueError(
            f"{path}: group must be one of its groups ({', '.join(groups) or 'none'}), got {group!r}"
        )
    return loaded[group]._replace(groups=groups)


def _parsed(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a winners.json, {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: not a winners.json of the format {FORMAT!r}")
    _require(path, content, {"num_steps": NUM_STEPS, "winners": SOME})
    for entry in content["winners"]:
        _require(path, entry, {"family": NAME, "options": OPTIONS, "params": PARAMS, "base_lr": BASE_LR})
        if "groups" in entry:
            _require(path, entry, {"groups": FACTORS})
        if "group_params" in entry:
            _require(path, entry, {"group_params": SHAPES})
    names = [entry["family"] for entry in content["winners"]]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{path}: more than one winner of family {', '.join(map(repr, repeated))}")
    return content


class Allowed(NamedTuple):
    """What an entry may be."""

    words: str
    holds: Callable[[Any], bool]


def _is_finite(value: Any) -> bool:
    """Whether it is a number that a float can hold; JSON also knows NaN, Infinity and any whole number."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


NUM_STEPS = Allowed(
    "a whole number from 1 to 2⁶³ - 1", lambda value: type(value) is int and 1 <= value < 2**63
)
SOME = Allowed("a list of at least one winner", lambda value: isinstance(value, list) and bool(value))
NAME = Allowed("a name", lambda value: isinstance(value, str))
OPTIONS = Allowed(
    "an object of names and numbers",
    lambda value: (
        isinstance(value, dict) and all(isinstance(x, str) or _is_finite(x) for x in value.values())
    ),
)
PARAMS = Allowed(
    "an object of numbers", lambda value: isinstance(value, dict) and all(map(_is_finite, value.values()))
)
SHAPES = Allowed(
    "an object of objects of numbers",
    lambda value: isinstance(value, dict) and all(map(PARAMS.holds, value.values())),
)
BASE_LR = Allowed("a positive number", lambda value: _is_finite(value) and value > 0)
FACTORS = Allowed(
    "an object of positive numbers",
    lambda value: isinstance(value, dict) and bool(value) and all(map(BASE_LR.holds, value.values())),
)


def _require(path: Path, entry: Any, fields: Mapping[str, Allowed]) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: a winner must be an object, got {reprlib.repr(entry)}")
    for name, allowed in fields.items():
        if name not in entry:
            raise ValueError(f"{path}: incomplete, an entry has no {name!r}")
        if not allowed.holds(entry[name]):
            raise ValueError(f"{path}: {name} must be {allowed.words}, got {reprlib.repr(entry[name])}")
