"""The command line of the shape search."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar

import tyro
from rich.console import Console

from experiments.shape_search import dependence
from experiments.shape_search.config import QUICK_CHANGES, Config
from experiments.shape_search.presets import DIGITS, PRESETS, SAVING
from experiments.shape_search.results import exported, show
from experiments.shape_search.search import redraw, run
from experiments.shape_search.width import filled
from experiments.study.command import command_line, tell_unused
from experiments.study.options.errors import StudyError, option_counts
from experiments.study.options.pairs import Folder, parsed
from experiments.study.running.processes import Cluster
from experiments.study.running.segments import NOT_SAVED, Saving
from experiments.study.running.setup import chunk_problems
from experiments.study.running.typed import checked, unchecked
from experiments.study.storage.folder import StudyFolder, read_config
from schedules import load_winner

ConfigT = TypeVar("ConfigT", bound=Config)


@dataclass(frozen=True)
class Command(Generic[ConfigT]):
    """Find the learning-rate shape that trains a workload best.

    Results go to a folder: config.json, journal.sqlite, winners.json, report.html and figures/. The same
    command again resumes there and runs only what is missing. `report FOLDER` in place of all options draws
    the report of a finished study again. Begin with `shakespeare`, `cifar10` or `wikitext103` (`digits` is
    the default) to choose what the options below start from. `--vary OPTION` makes one search for each of
    several values of that option, and asks what a shape costs where another setting's was searched.
    """

    config: tyro.conf.OmitArgPrefixes[ConfigT]
    folder: Folder | None = None
    """Where the study lives; runs/shape_search, with _PRESET, _OPTION varied or _quick behind it."""
    devices: int | None = None
    """How many devices to use, all when not given; a study keeps to one, or to several of any number."""
    cluster: tyro.conf.OmitArgPrefixes[Cluster] = field(default_factory=Cluster)
    chunk_runs: int = 256
    """Runs computed and recorded together at most; without effect on the results."""
    saving: tyro.conf.OmitArgPrefixes[Saving] = field(default_factory=Saving)
    fill_memory: bool = False
    """Let vectorize be the largest power of two that the devices' memory has room for; a study that is
    resumed keeps what it began with."""
    quick: bool = False
    """Change the defaults to a search that looks at little; on digits it ends within a minute."""
    vary: Literal[tuple(dependence.FACTORS)] | None = None
    """Search once per value of this option, then train every setting's best shape in every other; changes the
    defaults to AdamW and two flexible families."""
    values: tuple[str, ...] = ()
    """Values of the option that is varied, its own when not given; a weight decay is tried in both modes."""
    export: bool = False
    """Print the best winner as an optax snippet and as a table of multipliers at the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return command_line("shape_search", arguments, _run, _report)


def _report(folder: Path, console: Console) -> None:
    study = StudyFolder(folder)
    if "vary" in read_config(study):
        dependence.show(dependence.redraw(folder), study, console)
    else:
        show(redraw(folder), study, console)


def _run(arguments: Sequence[str], console: Console) -> None:
    preset, command = _parse(arguments)
    config = checked(command.config, command.cluster, command.devices, _option_problems(command))
    command.cluster.join(console)
    name = "_".join(["shape_search", *filter(None, [preset, command.vary, command.quick and "quick"])])
    folder = command.folder or Path("runs", name)
    options = {
        "devices": command.devices,
        "chunk_runs": command.chunk_runs,
        "saving": command.saving,
        "console": console,
    }
    if command.vary:
        study = dependence.Dependence(config, command.vary, command.values)
        tell_unused(study.unused(), arguments, console)
        dependence.show(dependence.run(study, folder, **options), StudyFolder(folder), console)
        return
    tell_unused(config.unused(), arguments, console)
    if command.fill_memory:
        config = filled(config, folder, command.devices, command.chunk_runs)
    show(run(config, folder, **options), StudyFolder(folder), console)
    if command.export:
        print(exported(load_winner(StudyFolder(folder).winners), config))


def _option_problems(command: Command) -> list[str]:
    """What is wrong with the options beside the config."""
    problems = [*chunk_problems(command.chunk_runs), *command.saving.problems()]
    if not command.vary:
        return problems + ["values: they need vary, the option that they are of."] * bool(command.values)
    alone = [name for name in ("export", "fill_memory") if getattr(command, name)]
    problems += [f"{name}: with vary there are several searches, each with its own." for name in alone]
    return problems + dependence.dependence_problems(command.config, command.vary, command.values)


def _parse(arguments: Sequence[str]) -> tuple[str | None, Command]:
    """The preset that is named, if any, and the command; what is typed wins over preset and --quick."""
    preset = arguments[0] if arguments and arguments[0] in PRESETS else None
    config = PRESETS[preset or DIGITS]
    if option_counts(arguments)["vary"]:
        if preset:
            raise StudyError(f"vary: it has its own defaults, and begins from no preset such as {preset}.")
        config = dependence.QUICK if "--quick" in arguments else dependence.DEFAULTS
    elif "--quick" in arguments:
        config = dataclasses.replace(config, **QUICK_CHANGES)
    config = unchecked(config)
    command = parsed(
        Command[type(config)],
        arguments[arguments[:1] == [preset] :],
        prog="python -m experiments.shape_search",
        default=Command(config=config, saving=SAVING.get(preset, NOT_SAVED)),
    )
    typed = option_counts(arguments)
    if "vary" in typed and not command.vary:
        raise StudyError(f"vary: it is {' or '.join(dependence.FACTORS)}, or left out.")
    if command.fill_memory and "vectorize" in typed:
        raise StudyError("fill_memory: it chooses vectorize, which is typed too.")
    return preset, command
