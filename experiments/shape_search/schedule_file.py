"""A schedule from a file: the learning rate of every step."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from experiments.study.options.errors import StudyError

Row = tuple[int, list[str]]  # the number of a line, and its cells


def read_schedule(path: Path, num_steps: int) -> Float[np.ndarray, "steps"]:
    """The learning rates of a file of so many lines: a rate each, or STEP,RATE with the steps from 0 on,
    under a heading or none.

    Raises StudyError that names file and line where it is anything else.
    """
    rows = _rows(path)
    if rows and not _is_number(rows[0][1][-1]):
        rows = rows[1:]
    for step, row in enumerate(rows):
        for problem in _problems(step, row, len(rows[0][1])):
            raise StudyError(f"{path}, line {row[0]}: {problem}.")
    if len(rows) != num_steps:
        raise StudyError(f"{path}: must have the learning rates of {num_steps:,} steps, got {len(rows):,}.")
    return np.array([float(cells[-1]) for _, cells in rows])


def _rows(path: Path) -> list[Row]:
    """The lines that hold anything."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            return [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise StudyError(f"{path}: cannot be read as a table: {reason}.") from None


def _problems(step: int, row: Row, width: int) -> Iterator[str]:
    _, cells = row
    if width > 2:
        yield f"must be a learning rate, or a step and a learning rate, got {len(cells)} columns"
    if len(cells) != width:
        yield f"must have {width} columns as the first line has, got {len(cells)}"
    if width == 2 and not _is(step, cells[0]):
        yield f"must be step {step}, got {cells[0]!r}"
    if not (_is_number(cells[-1]) and 0 <= float(cells[-1]) < math.inf):
        yield f"a learning rate must be finite and not negative, got {cells[-1]!r}"


def _is(step: int, cell: str) -> bool:
    return _is_number(cell) and float(cell) == step


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
