"""The console that a command prints to."""

import sys

from rich.console import Console


class Terminal(Console):
    """As wide as the terminal; `width` characters where the output goes to a file."""

    def __init__(self, width: int):
        super().__init__(width=None if sys.stdout.isatty() else width)

    def on_broken_pipe(self) -> None:
        """Leave it to the command, as where something else prints; rich would exit with status 1."""
        raise
