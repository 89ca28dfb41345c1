"""The file of a trial: all that a job needs to run it. Imports no JAX."""

import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.jobs.state import JobTrial
from experiments.study.options.errors import StudyError

LONG = 10_000  # steps, beyond which a table has a file of its own
TABLES = ("learning_rates", "multipliers")


class Asked(NamedTuple):
    """A trial that somebody has, as its file tells it.

    Attributes:
      id: what to tell the result by.
      stage: "screen", "confirm", … of the search.
      family, params, base_lr: the schedule.
      num_steps: how long to train.
      seed: what to seed the run with; None where jobs take no seed.
      learning_rates: of every step, base_lr · multipliers in float32.
      multipliers: of every step.
    """

    id: str
    stage: str
    family: str
    params: dict[str, float]
    base_lr: float
    num_steps: int
    seed: int | None
    learning_rates: Float[np.ndarray, "steps"]
    multipliers: Float[np.ndarray, "steps"]

    @classmethod
    def of(cls, trial: JobTrial, table: bytes) -> "Asked":
        """`table`: the bytes of the multipliers."""
        multipliers = np.frombuffer(table, np.float32)
        rates = np.float32(trial.base_lr) * multipliers
        return cls(
            trial.id,
            trial.stage,
            trial.family,
            dict(trial.params),
            trial.base_lr,
            len(multipliers),
            trial.seed,
            rates,
            multipliers,
        )

    def content(self) -> dict[str, Any]:
        """The content of its file; tables that are long are named by the file that holds them."""
        tables = {
            name: f"{self.id}.{name}.npy" if name in self.long else _numbers(getattr(self, name))
            for name in TABLES
        }
        return {**self._asdict(), **tables}

    @property
    def long(self) -> tuple[str, ...]:
        """The tables that have files of their own."""
        return TABLES if self.num_steps > LONG else ()

    def write(self, folder: Path) -> None:
        """Write trials/ID.json, with long tables beside it, the same bytes each time; in full or not at all.

        Raises StudyError where it cannot be written.
        """
        try:
            folder.mkdir(exist_ok=True)
            for name in self.long:
                buffer = io.BytesIO()
                np.save(buffer, getattr(self, name))
                _replace(folder / f"{self.id}.{name}.npy", buffer.getvalue())
            _replace(folder / f"{self.id}.json", f"{self.line()}\n".encode())
        except OSError as error:
            raise StudyError(f"{folder} cannot be written to: {error.strerror or error}.") from None

    def line(self) -> str:
        return json.dumps(self.content())


def _numbers(table: Float[np.ndarray, "steps"]) -> list[float]:
    """Decimal numbers as short as float32 allows: read as float32 they are the same bits."""
    return [float(str(number)) for number in table]


def _replace(path: Path, content: bytes) -> None:
    # not on the disk for sure, unlike the record: the next ask of the same worker writes it again
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)
