"""The file of a trial: all that a job needs to run it. Imports no JAX."""

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.jobs.state import JobTrial, NamedTrunk, State
from experiments.study.options.errors import StudyError

LONG = 10_000  # steps, beyond which a table has a file of its own
TABLES = ("learning_rates", "multipliers")
Table = Float[np.ndarray, "steps"]


class Asked(NamedTuple):
    """A trial that somebody has, as its file tells it.

    Attributes:
      id: what to tell the result by.
      stage: "screen", "confirm", … of the search.
      family, params, base_lr: the schedule.
      num_steps: how long to train, after the trunk where there is one.
      seed: what to seed the run with; None where jobs take no seed.
      learning_rates: of every step, base_lr · multipliers in float32; by their names where there are groups.
      multipliers: of every step, likewise.
      trunk: whose last state the run goes on from; None where it begins anew.
    """

    id: str
    stage: str
    family: str
    params: dict[str, float]
    base_lr: float
    num_steps: int
    seed: int | None
    learning_rates: Table | dict[str, Table]
    multipliers: Table | dict[str, Table]
    trunk: NamedTrunk | None

    @classmethod
    def of(cls, trial: JobTrial, table: bytes, state: State) -> "Asked":
        """`table`: the bytes of the multipliers, of all groups one after the other."""
        groups = state.groups
        multipliers = np.frombuffer(table, np.float32).reshape(len(groups) or 1, -1)
        rates = np.float32(trial.base_lr) * multipliers
        return cls(
            trial.id,
            trial.stage,
            trial.family,
            dict(trial.params),
            trial.base_lr,
            multipliers.shape[1],
            trial.seed,
            *(dict(zip(groups, rows, strict=True)) if groups else rows[0] for rows in (rates, multipliers)),
            state.trunk(trial),
        )

    def content(self) -> dict[str, Any]:
        """The content of its file; tables that are long are named by the file that holds them."""
        facts = self._asdict() | {name: self._entry(name, getattr(self, name)) for name in TABLES}
        trunk = facts.pop("trunk")
        return facts | ({"trunk": trunk._asdict()} if trunk else {})

    def write(self, folder: Path) -> None:
        """Write trials/ID.json, with long tables beside it, the same bytes each time; in full or not at all.

        Raises StudyError where it cannot be written.
        """
        try:
            folder.mkdir(exist_ok=True)
            for name in TABLES if self._long else ():
                for part, table in _parts(name, getattr(self, name)):
                    buffer = io.BytesIO()
                    np.save(buffer, table)
                    _replace(folder / self._file(part), buffer.getvalue())
            _replace(folder / f"{self.id}.json", f"{self.line()}\n".encode())
        except OSError as error:
            raise StudyError(f"{folder} cannot be written to: {error.strerror or error}.") from None

    def line(self) -> str:
        return json.dumps(self.content())

    @property
    def _long(self) -> bool:
        """Whether its tables have files of their own."""
        return self.num_steps > LONG

    def _file(self, part: str) -> str:
        return f"{self.id}.{part}.npy"

    def _entry(self, name: str, table: Table | dict[str, Table]) -> Any:
        entries = [self._file(part) if self._long else _numbers(rows) for part, rows in _parts(name, table)]
        return dict(zip(table, entries, strict=True)) if isinstance(table, dict) else entries[0]


def _parts(name: str, table: Table | dict[str, Table]) -> list[tuple[str, Table]]:
    """The tables of groups, each named after its own, or the one of all parameters."""
    if isinstance(table, dict):
        return [(f"{name}.{group}", rows) for group, rows in table.items()]
    return [(name, table)]


def _numbers(table: Table) -> list[float]:
    """Decimal numbers as short as float32 allows: read as float32 they are the same bits."""
    return [float(str(number)) for number in table]


def _replace(path: Path, content: bytes) -> None:
    # not on the disk for sure, unlike the record: the next ask of the same worker writes it again
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)
