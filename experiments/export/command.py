"""The command line of the exporters."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import tyro
from rich.console import Console

from experiments.export.code import optax_code, torch_code, transformers_code
from experiments.export.levanter import levanter_yaml
from experiments.export.maxtext import maxtext_yaml
from experiments.export.megatron import megatron_arguments
from experiments.export.schedule import Schedule, winning_schedule
from experiments.export.tables import csv_table, json_table
from experiments.study.command import told
from experiments.study.options.errors import choice_problem, raise_problems
from experiments.study.options.pairs import Folder, parsed
from experiments.study.running.devices import started_devices

EXPORTERS: Mapping[str, Callable[[Schedule], str]] = MappingProxyType(
    {
        "optax": optax_code,
        "torch": torch_code,
        "transformers": transformers_code,
        "levanter": levanter_yaml,
        "maxtext": maxtext_yaml,
        "megatron": megatron_arguments,
        "csv": csv_table,
        "json": json_table,
    }
)


@dataclass(frozen=True)
class Options:
    """Print the winning schedule of a finished study for a trainer: exactly, as code or as a table, where the
    trainer takes one, else the nearest of the trainer's own schedules with its deviation."""

    folder: Annotated[Folder, tyro.conf.Positional]
    """The study's folder, such as runs/shape_search_digits."""
    trainer: Annotated[str, tyro.conf.arg(name="as", metavar="|".join(EXPORTERS))]
    """What it is printed for."""
    family: str | None = None
    """The family whose winner it is; that of the best when not given."""
    group: str | None = None
    """The group of parameters whose schedule it is, where each has one, such as matrices or aux."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a schedule; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)

    def command(console: Console) -> None:
        options = parsed(Options, words, prog="steepest export")
        raise_problems(filter(None, [choice_problem("as", options.trainer, EXPORTERS)]))
        schedule = winning_schedule(options.folder, options.family, options.group)
        started_devices()
        print(EXPORTERS[options.trainer](schedule))

    return told(command)
