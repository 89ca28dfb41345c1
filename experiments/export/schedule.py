"""The schedule that a study ended with, read from its folder."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments.study.options.checks import MOST
from experiments.study.options.errors import StudyError
from experiments.study.storage.folder import StudyFolder, read_config
from schedules.winners import LoadedWinner, load_winner, parse_winner

CHALLENGERS = ("challenger", "own_family", "free")  # the keys of a verdict that hold one


@dataclass(frozen=True)
class Schedule:
    """A schedule to be exported.

    Attributes:
      folder: of the study that ended with it.
      origin: a line that says which of its schedules it is.
      winner: its family, shape, base learning rate and horizon.
    """

    folder: StudyFolder
    origin: str
    winner: LoadedWinner

    @cached_property
    def multipliers(self) -> Float[np.ndarray, "steps"]:
        """Of the base learning rate, a step each."""
        winner = self.winner
        return np.asarray(winner.family.multipliers(winner.params, winner.num_steps))

    @cached_property
    def learning_rates(self) -> Float[np.ndarray, "steps"]:
        return self.winner.base_lr * self.multipliers.astype(float)


def winning_schedule(path: Path, family: str | None = None, group: str | None = None) -> Schedule:
    """The schedule that a study's folder ended with, or the winner of one family.

    Without a family it is the best winner, or what challenged that and improved on it.

    Args:
      group: of parameters, whose schedule it is; needed where they have one each.

    Raises StudyError where the folder holds no finished study, or none with winning shapes, or no winner of
    that family or group.
    """
    folder = StudyFolder(path)
    if not folder.winners.exists():
        read_config(folder)
        raise StudyError(f"{path} is not finished: run the same study again.")
    try:
        winner = load_winner(folder.winners, family, group)
    except ValueError as error:
        raise StudyError(f"{error}.") from None
    origin = "the best winner of" if family is None else "the winner of its family in"
    if family is None and (challenger := _challenger(folder, group)):
        origin = f"the challenger that improved on the best winner, {winner.family.name}, of"
        winner = challenger
    origin = f"of {group}, {origin}" if group else origin
    if winner.num_steps > MOST:
        raise StudyError(f"{folder.winners}: num_steps is above {MOST:,}, which no table has room for.")
    return Schedule(folder, f"{winner.family.name}, {origin} {str(path)!r}", winner)


def _challenger(folder: StudyFolder, group: str | None) -> LoadedWinner | None:
    """What improved on the best winner, where the verdict on that says so.

    It has the options that its family has among the winners.
    """
    content = json.loads(folder.winners.read_bytes())
    try:
        verdict = content["winners"][0].get("near_optimality") or {}
        if not verdict.get("improved"):
            return None
        challengers = [verdict[key] for key in CHALLENGERS if verdict.get(key)]
        best = min(challengers, key=lambda challenger: challenger["change"]["value"])
        options = {entry["family"]: entry["options"] for entry in content["winners"]}
        winner = {**best, "options": options.get(best["family"], {})}
        return parse_winner(json.dumps({**content, "winners": [winner]}), folder.winners, group=group)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise StudyError(f"{folder.winners}: the verdict on the best winner cannot be read.") from None
