"""The command line of the optimizer comparison."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from experiments.optimizer_comparison.comparison import redraw, run
from experiments.optimizer_comparison.config import PRESETS, Config
from experiments.optimizer_comparison.results import Results, headings, notes, table_rows
from experiments.study.command import reporting_errors
from experiments.study.devices import one_device_per_core
from experiments.study.folder import StudyFolder
from experiments.study.tables import show_table

TABLE_WIDTH = 150  # where the output goes to a file


@dataclass(frozen=True)
class Command:
    """Compare optimizers on a workload, each tuned with the same number of runs.

    Begin with `digits` (the default) or `transformer` to choose what the options below start from. Results
    go to a folder: config.json, journal.sqlite, timings.json, winners.json, report.html and figures/. The
    same command again resumes there and runs only what is missing. `report FOLDER` in place of all options
    draws the report of a finished study again.
    """

    config: tyro.conf.OmitArgPrefixes[Config]
    folder: Path | None = None
    """Where the study lives; runs/optimizer_comparison_digits, or the like."""
    devices: int | None = None
    """How many devices to use, all when not given; without effect on the scores."""


@dataclass(frozen=True)
class Report:
    """Draw the report of a finished study again, without running anything."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The study's folder, such as runs/optimizer_comparison_digits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    one_device_per_core()
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    return reporting_errors(lambda: _main(arguments, console), console)


def _main(arguments: Sequence[str], console: Console) -> None:
    if arguments[:1] == ["report"]:
        folder = tyro.cli(Report, prog="optimizer_comparison report", args=arguments[1:]).folder
        _show(redraw(folder), StudyFolder(folder), console)
        return
    preset = arguments[0] if arguments and arguments[0] in PRESETS else next(iter(PRESETS))
    command = tyro.cli(
        Command,
        prog="python -m experiments.optimizer_comparison",
        args=arguments[arguments[:1] == [preset] :],
        default=Command(config=PRESETS[preset]),
    )
    folder = command.folder or Path("runs", f"optimizer_comparison_{preset}")
    results = run(command.config, folder, devices=command.devices, console=console)
    _show(results, StudyFolder(folder), console)


def _show(results: Results, folder: StudyFolder, console: Console) -> None:
    show_table(
        console,
        results.setting,
        headings(results),
        table_rows(results),
        (results.verdict, *notes(results)),
        (folder.report, folder.winners),
    )
