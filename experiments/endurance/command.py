"""The command line of the endurance measurements."""

import sys
from collections.abc import Sequence

import tyro
from rich.console import Console

from experiments.endurance.interruptions import Interruptions
from experiments.endurance.overhead import Overhead
from experiments.endurance.placements import Placements
from experiments.endurance.scaling import Scaling
from experiments.endurance.soak import Soak
from experiments.study.choices import StudyError

DESCRIPTION = "Measure whether studies last. The exit status is 0 where every bar held, 1 where one did not."


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        subject = tyro.cli(
            Interruptions | Placements | Soak | Overhead | Scaling,
            prog="python -m experiments.endurance",
            description=DESCRIPTION,
            args=arguments,
        )
        return 0 if subject.report(console) else 1
    except StudyError as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        return 2
