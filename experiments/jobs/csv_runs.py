"""Runs that were made before, as CSV files tell of them: the learning rate of every step, and the score.

Three layouts are known by their headings:

- a row a step: `step` (or `_step`, `Step`), a column of learning rates, one of the score, and `run` where
  there are several; so W&B's history of a run is written.
- W&B's export of a chart: `Step`, and a column "RUN - METRIC" for each run and metric.
- TensorBoard's export: `Wall time,Step,Value`, one metric of one run, which is named in front of the file.

Files are put together by run and step. Imports no JAX.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from experiments.study.options.errors import StudyError

STEPS = ("step", "_step", "Step", "global_step", "trainer/global_step")
RATES = ("learning_rate", "lr", "train/learning_rate", "train/lr")
RUN = "run"
TENSORBOARD = ["Wall time", "Step", "Value"]
BOUNDS = ("__MIN", "__MAX")  # of W&B, beside every value
UNCOVERED = 0.05  # of the horizon that a logged curve may lack at either end


class LoggedRun(NamedTuple):
    """A run with the learning rates of each group at evenly spaced points, and its score; None where it
    diverged."""

    name: str
    learning_rates: Float[np.ndarray, "groups points"]
    value: float | None


Series = dict[int, float]  # by step
Table = dict[tuple[str, str], Series]  # by run and column


def read_runs(
    files: Sequence[str], rates: Sequence[str], score: str, num_steps: int, points: int
) -> list[LoggedRun]:
    """The runs of files, each `PATH` or, for TensorBoard, `METRIC=PATH`.

    Args:
      rates: the column of each group's learning rates; of all parameters', one of the usual names, when none.
      score: the column of the score, whose last entry counts.
      num_steps: the horizon, which every run must have.
      points: of each curve that is returned.

    Raises StudyError where a file cannot be read, a column is missing, or a curve does not cover the horizon.
    """
    table: Table = {}
    for text in files:
        for key, series in _read(text).items():
            table.setdefault(key, {}).update(series)
    columns = {column for _, column in table}
    rates = [_column("rate", [rate], columns) for rate in rates] or [_column("rate", RATES, columns)]
    score = _column("score", [score], columns)
    names = list(dict.fromkeys(run for run, _ in table))
    return [
        LoggedRun(
            name,
            np.stack([_curve(name, table.get((name, rate), {}), num_steps, points) for rate in rates]),
            _last(name, table.get((name, score), {})),
        )
        for name in names
    ]


def read_schedule(path: Path, num_steps: int) -> Float[np.ndarray, "steps"]:
    """The learning rates of a CSV file with one a line, for every step, and perhaps a heading.

    Raises StudyError where they are not that, or not rates.
    """
    lines = [row[-1] for row in _rows(path) if row]
    if lines and not _is_number(lines[0]):
        lines = lines[1:]
    if not all(map(_is_number, lines)) or len(lines) != num_steps:
        raise StudyError(
            f"schedule: {path} must hold {num_steps} numbers, a line each, got {len(lines)} lines."
        )
    rates = np.array([float(line) for line in lines])
    if not (np.all(rates >= 0) and np.all(rates < 1e30) and rates.max() > 0):
        raise StudyError(
            f"schedule: {path} must hold learning rates from 0 on, some positive and all finite."
        )
    return rates


def _read(text: str) -> Table:
    """The columns of one file."""
    column, _, location = ("", "", text) if Path(text).exists() else text.rpartition("=")
    path = Path(location)
    heading, *rows = _rows(path) or [[]]
    if heading == TENSORBOARD:
        if not column:
            raise StudyError(f"files: {path} is TensorBoard's; say of what, as in loss={path}.")
        heading, rows = ["Step", column], [row[1:] for row in rows]
    step = next((heading.index(name) for name in STEPS if name in heading), None)
    if step is None:
        raise StudyError(f"files: {path} has no column of steps, such as {STEPS[0]!r}; it has {heading}.")
    run = heading.index(RUN) if RUN in heading else None
    default = path.stem if heading != ["Step", column] else "run"
    table: Table = {}
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        if len(row) != len(heading):
            raise StudyError(
                f"files: line {number} of {path} has {len(row)} entries, its heading {len(heading)}."
            )
        for place, name in enumerate(heading):
            if place in (step, run) or not _is_number(row[place]) or name.endswith(BOUNDS):
                continue
            prefix, separator, metric = name.rpartition(" - ")
            owner = row[run] if run is not None else prefix if separator else default
            series = table.setdefault((owner, metric), {})
            series[_step(row[step], path, number)] = float(row[place])
    return table


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"files: {path} cannot be read: {error}.") from None


def _step(text: str, path: Path, number: int) -> int:
    try:
        step = float(text)
        if step != int(step) or step < 0:
            raise ValueError
        return int(step)
    except (ValueError, OverflowError):
        raise StudyError(f"files: line {number} of {path} has the step {text!r}.") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(option: str, names: Iterable[str], columns: Iterable[str]) -> str:
    for name in names:
        if name in columns:
            return name
    raise StudyError(
        f"{option}: there is no column {' or '.join(map(repr, names))};"
        f" there are {', '.join(sorted(columns)) or 'none'}."
    )


def _curve(
    name: str, series: Mapping[int, float], num_steps: int, points: int
) -> Float[np.ndarray, "points"]:
    """The logged rates, with straight lines between them."""
    steps = sorted(series)
    if not steps or steps[0] > UNCOVERED * num_steps or steps[-1] < (1 - UNCOVERED) * num_steps - 1:
        covered = f"steps {steps[0]} to {steps[-1]}" if steps else "none"
        raise StudyError(
            f"files: the learning rates of {name!r} must cover {num_steps} steps, got {covered}."
        )
    if steps[-1] > num_steps:
        raise StudyError(f"files: {name!r} has {steps[-1]} steps, and the search's jobs {num_steps}.")
    rates = np.array([series[step] for step in steps])
    if not np.all((rates >= 0) & (rates < 1e30)):
        raise StudyError(f"files: the learning rates of {name!r} must be finite and not negative.")
    return np.interp(np.arange(points) * num_steps / points, steps, rates).astype(np.float32)


def _last(name: str, series: Mapping[int, float]) -> float | None:
    if not series:
        raise StudyError(f"files: {name!r} has no score.")
    value = series[max(series)]
    return value if math.isfinite(value) else None
