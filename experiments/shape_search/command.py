"""The command line of the shape search."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from experiments.shape_search.config import QUICK, Config
from experiments.shape_search.results import exported, show
from experiments.shape_search.search import redraw, run
from experiments.study.command import command_line
from experiments.study.folder import StudyFolder
from schedules import load_winner


@dataclass(frozen=True)
class Command:
    """Find the learning-rate shape that trains a workload best.

    Results go to a folder: config.json, journal.sqlite, winners.json, report.html and figures/. The same
    command again resumes there and runs only what is missing. `report FOLDER` in place of all options draws
    the report of a finished study again.
    """

    config: tyro.conf.OmitArgPrefixes[Config]
    folder: Path | None = None
    """Where the study lives; runs/shape_search, or runs/shape_search_quick with --quick."""
    devices: int | None = None
    """How many devices to use, all when not given; without effect on the results."""
    chunk_runs: int = 256
    """Runs computed and recorded together at most; without effect on the results."""
    quick: bool = False
    """Change the defaults to a search that ends within a minute."""
    export: bool = False
    """Print the best winner as an optax snippet and as a table of multipliers at the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return command_line("shape_search", arguments, _run, _report)


def _report(folder: Path, console: Console) -> None:
    show(redraw(folder), StudyFolder(folder), console)


def _run(arguments: Sequence[str], console: Console) -> None:
    command = _parse(arguments)
    folder = command.folder or Path("runs", "shape_search_quick" if command.quick else "shape_search")
    results = run(
        command.config, folder, devices=command.devices, chunk_runs=command.chunk_runs, console=console
    )
    show(results, StudyFolder(folder), console)
    if command.export:
        print(exported(load_winner(StudyFolder(folder).winners), command.config))


def _parse(arguments: Sequence[str]) -> Command:
    default = QUICK if "--quick" in arguments else Config()
    return tyro.cli(
        Command, prog="python -m experiments.shape_search", args=arguments, default=Command(config=default)
    )
