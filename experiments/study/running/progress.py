"""The progress of a study on the terminal: runs done, runs per second, time left."""

import time

from rich import progress as bars
from rich.console import Console

PRINT_EVERY_SECONDS = 10


class Progress:
    """A bar where the output is a terminal, a line every ten seconds elsewhere; nothing where `quiet`.

    `planned` is the number of runs expected; runs beyond it (extended grids) move the total.
    """

    def __init__(self, planned: int, console: Console, quiet: bool = False):
        self._total, self._seen, self._quiet = planned, 0, quiet
        self._console = console
        self._ran, self._begun = 0, None
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.TextColumn("{task.completed:,.0f}/{task.total:,.0f} runs"),
            bars.TextColumn("{task.fields[speed]:,.0f} runs/s"),
            bars.TextColumn("{task.fields[left]} left"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bars.add_task("", total=planned, speed=0.0, left="?")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception) -> None:
        self._bars.stop()

    def begin(self, stage: str, done: int, remaining: int) -> None:
        """Enter a stage of which `done` runs are in the journal already and `remaining` are to do."""
        if self._begun is None:
            self._begun = self._printed = time.monotonic()
            self._bars.start()
        self._seen += done
        self._total = max(self._total, self._seen + remaining)
        self._bars.update(self._task, description=stage, completed=self._seen, total=self._total)
        self._stage = stage

    def advance(self, runs: int) -> None:
        """Count runs that were just recorded."""
        self._ran += runs
        self._seen += runs
        speed = self._ran / max(time.monotonic() - self._begun, 1e-9)  # a coarse clock may stand still
        remaining = _minutes((self._total - self._seen) / speed)
        self._bars.update(self._task, completed=self._seen, speed=speed, left=remaining)
        if not (self._quiet or self._console.is_terminal):
            self._print(speed, remaining)

    def _print(self, speed: float, remaining: str) -> None:
        now = time.monotonic()
        if now - self._printed >= PRINT_EVERY_SECONDS or self._seen >= self._total:
            self._printed = now
            self._console.print(
                f"{self._stage}: {self._seen:,}/{self._total:,} runs, {speed:,.0f} runs/s, {remaining} left"
            )


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
