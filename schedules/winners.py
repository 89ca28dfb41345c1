"""The winners of a search on disk: `winners.json`, and its way back to a schedule."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from schedules.families import FAMILIES
from schedules.family import Family

FORMAT = "steepest winners 1"


class LoadedWinner(NamedTuple):
    """A family, its shape parameters, and the learning rate and horizon they were found with.

    `winner.family.schedule(winner.params, winner.base_lr, num_steps)` is an optax schedule for any horizon.
    """

    family: Family
    params: Mapping[str, float]
    base_lr: float
    num_steps: int


def load_winner(path: str | Path, family: str | None = None) -> LoadedWinner:
    """The best winner in a `winners.json`, or that of one family.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not a search's winners, or holds none of that family.
    """
    return parse_winner(Path(path).read_bytes(), path, family)


def parse_winner(text: str | bytes, path: str | Path, family: str | None = None) -> LoadedWinner:
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
    found = FAMILIES[name].with_options(**entry["options"])
    found.check(entry["params"])
    return LoadedWinner(found, entry["params"], entry["base_lr"], content["num_steps"])


def _parsed(text: str | bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a winners.json, {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path}: not a winners.json of the format {FORMAT!r}")
    _require(path, content, {"num_steps": int, "winners": list})
    if not content["winners"]:
        raise ValueError(f"{path}: holds no winners")
    for entry in content["winners"]:
        _require(path, entry, {"family": str, "options": dict, "params": dict, "base_lr": float | int})
    return content


def _require(path: Path, entry: Any, types: Mapping[str, type]) -> None:
    for name, kind in types.items():
        if not isinstance(entry, dict) or not isinstance(entry.get(name), kind):
            raise ValueError(f"{path}: incomplete, an entry has no {name!r}")
