"""The console that a command prints to, and what is printed there."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import rich.table
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:  # the doctor prints where JAX is missing
    from experiments.study.showing.table import Table


class Terminal(Console):
    """As wide as the terminal; `width` characters where the output goes to a file."""

    def __init__(self, width: int):
        super().__init__(width=None if sys.stdout.isatty() else width)

    def on_broken_pipe(self) -> None:
        """Leave it to the command, as where something else prints; rich would exit with status 1."""
        raise


def print_table(console: Console, title: str, table: "Table") -> None:
    """Its first column left, all others right except those that may be wrapped."""
    drawn = rich.table.Table(title=Text(title), box=SIMPLE_HEAD, padding=(0, 1))
    for number, column in enumerate(table.shown("terminal")):
        leading = number == 0 or column.wrapped
        drawn.add_column(
            Text(column.heading), justify="left" if leading else "right", no_wrap=not column.wrapped
        )
    for cells in table.cells("terminal"):
        drawn.add_row(*map(Text, cells))
    console.print(drawn)


def print_lines(console: Console, lines: Iterable[str], broken: bool = True) -> None:
    """Lines, which the console breaks where they are too long, but for paths."""
    for line in lines:
        console.print(Text(line), soft_wrap=not broken)
