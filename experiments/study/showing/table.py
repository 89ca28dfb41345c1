"""Tables, each declared once: what a row holds, how a cell shows it, and what winners.json calls it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from experiments.study.showing.cells import as_text

RowT = TypeVar("RowT")
Place = Literal["terminal", "report"]

EVERYWHERE: tuple[Place, ...] = ("terminal", "report")
REPORT: tuple[Place, ...] = ("report",)  # a terminal has room for less


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """A column of a table. `dataclasses.replace` changes one that several studies show, for a single table.

    Attributes:
      heading: above its cells; a column without one is in winners.json alone.
      values: what a row holds, by its key in winners.json.
      cell: the values, by their keys → the text; by the kind of the only value when None.
      shown: a row → the text, for a cell of what winners.json does not hold.
      places: where it is shown.
      wrapped: whether a terminal may break its text.
      timed: whether the clock decides it, so that two runs of a study differ in it.
    """

    heading: str
    values: Mapping[str, Callable[[RowT], Any]]
    cell: Callable[..., str] | None = None
    shown: Callable[[RowT], str] | None = None
    places: tuple[Place, ...] = EVERYWHERE
    wrapped: bool = False
    timed: bool = False

    def text(self, row: RowT) -> str:
        if self.shown:
            return self.shown(row)
        found = {key: value(row) for key, value in self.values.items()}
        return self.cell(**found) if self.cell else as_text(*found.values())

    def json(self, row: RowT) -> dict[str, Any]:
        return {key: as_json(value(row)) for key, value in self.values.items()}


def column(
    heading: str = "",
    cell: Callable[..., str] | None = None,
    *,
    shown: Callable[[RowT], str] | None = None,
    places: tuple[Place, ...] = EVERYWHERE,
    wrapped: bool = False,
    timed: bool = False,
    **values: Callable[[RowT], Any],
) -> Column[RowT]:
    """A column from its values by key: `column("decay", decay=lambda row: row.decay)`."""
    return Column(heading, values, cell, shown, places, wrapped, timed)


@dataclass(frozen=True)
class Table(Generic[RowT]):
    """Rows under columns.

    Attributes:
      key: its place in winners.json; nowhere when empty.
      columns: see `Column`; the first one tells rows apart.
      rows: what the columns' functions take.
      title: above it; that of its part when empty.
      places: where it is shown.
      by_name: whether winners.json holds an object, by the first value of each row, in place of a list.

    >>> table = Table("sizes", [column("batch", batch=lambda n: n), column(root=math.sqrt)], [4, 9])
    >>> table.headings("report"), table.cells("report"), table.json()
    (['batch'], [['4'], ['9']], [{'batch': 4, 'root': 2.0}, {'batch': 9, 'root': 3.0}])
    """

    key: str
    columns: Sequence[Column[RowT]]
    rows: Sequence[RowT]
    title: str = ""
    places: tuple[Place, ...] = EVERYWHERE
    by_name: bool = False

    def headings(self, place: Place) -> list[str]:
        return [column.heading for column in self.shown(place)]

    def cells(self, place: Place) -> list[list[str]]:
        return [[column.text(row) for column in self.shown(place)] for row in self.rows]

    def json(self) -> list[dict[str, Any]] | dict[str, dict[str, Any]]:
        rows = [{k: v for column in self.columns for k, v in column.json(row).items()} for row in self.rows]
        if not self.by_name:
            return rows
        return {str(name): dict(others) for (_, name), *others in (row.items() for row in rows)}

    def timed_keys(self) -> set[str]:
        """The keys of winners.json that the clock decides."""
        return {key for column in self.columns if column.timed for key in column.values}

    def shown(self, place: Place) -> list[Column[RowT]]:
        """The columns in a place, none where the table is not there."""
        return [c for c in self.columns if c.heading and place in c.places and place in self.places]


def as_json(value: Any) -> Any:
    """A value as JSON holds it: what is not finite is null, a table its rows, a NamedTuple its fields."""
    if isinstance(value, Table):
        return value.json()
    if hasattr(value, "_asdict"):
        return as_json(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None
