"""The command lines of studies: run one with its options, or draw the report of a finished one again."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Generic, TypeVar

import jax
import tyro
from rich.console import Console
from rich.text import Text

from experiments.study.choices import StudyError, option_counts
from experiments.study.devices import keep_compiled_programs, one_device_per_core, started_devices
from experiments.study.entry import ended
from experiments.study.folder import StudyFolder
from experiments.study.options import Folder, parsed
from experiments.study.processes import Cluster, is_first
from experiments.study.segments import Saving
from experiments.study.stopping import Stopped
from experiments.study.terminal import Terminal
from experiments.study.typed import checked, unchecked

ConfigT = TypeVar("ConfigT")
ResultsT = TypeVar("ResultsT")

TABLE_WIDTH = 150  # where the output goes to a file
FOLDER_HELP = (
    "Results go to a folder, with figures and a report. The same command again resumes there and runs only"
    " what is missing. `report FOLDER` in place of all options draws the report of a finished study again."
)


@dataclass(frozen=True)
class Command(Generic[ConfigT]):
    config: tyro.conf.OmitArgPrefixes[ConfigT]
    folder: Folder | None = None
    """Where the study lives; a folder in runs/ with the study's name when not given."""
    devices: int | None = None
    """How many devices to use, all when not given; a study keeps to one, or to several of any number."""
    cluster: tyro.conf.OmitArgPrefixes[Cluster] = field(default_factory=Cluster)


@dataclass(frozen=True)
class SavedCommand(Command[ConfigT]):
    saving: tyro.conf.OmitArgPrefixes[Saving] = field(default_factory=Saving)


@dataclass(frozen=True)
class Report:
    """Draw the report of a finished study again, without running anything."""

    folder: Annotated[Folder, tyro.conf.Positional]
    """The study's folder, such as runs/shape_search."""


@dataclass(frozen=True)
class Study(Generic[ConfigT, ResultsT]):
    """A study with a config and a folder, as its command line sees it.

    Attributes:
      name: that of its package.
      description: what it does, a sentence or two.
      presets: the configs that its options may start from by name, the first of them when none is named.
        The study's folder is runs/NAME, or runs/NAME_PRESET where there are several.
      run: (config, folder, devices=, console=) → results.
      redraw: folder → the results of a finished study, whose report is written again.
      show: (results, folder, console) → None, prints them.
      saved: whether its runs can be saved on the way; `run` then has the argument `saving` too.
    """

    name: str
    description: str
    presets: Mapping[str, ConfigT]
    run: Callable[..., ResultsT]
    redraw: Callable[[Path], ResultsT]
    show: Callable[[ResultsT, StudyFolder, Console], None]
    saved: bool = False

    def main(self, arguments: Sequence[str] | None = None) -> int:
        """The command line `[PRESET] [options]` or `report FOLDER`; returns the exit status."""
        return command_line(self.name, arguments, self._run, self._report)

    def _run(self, arguments: Sequence[str], console: Console) -> None:
        default = next(iter(self.presets))
        preset = arguments[0] if arguments and arguments[0] in self.presets else default
        config = unchecked(self.presets[preset])
        command = parsed(
            (SavedCommand if self.saved else Command)[type(config)],
            arguments[arguments[:1] == [preset] :],
            prog=f"python -m experiments.{self.name}",
            description=f"{self.description}\n\n{self._presets_help()}{FOLDER_HELP}",
            default=(SavedCommand if self.saved else Command)(config=config),
        )
        saving = {"saving": command.saving} if self.saved else {}
        problems = [problem for option in saving.values() for problem in option.problems()]
        config = checked(command.config, command.cluster, command.devices, problems)
        command.cluster.join(console)
        tell_unused(config.unused(), arguments, console)
        own_folder = self.name if len(self.presets) == 1 else f"{self.name}_{preset}"
        folder = command.folder or Path("runs", own_folder)
        results = self.run(config, folder, devices=command.devices, console=console, **saving)
        self.show(results, StudyFolder(folder), console)

    def _report(self, folder: Path, console: Console) -> None:
        self.show(self.redraw(folder), StudyFolder(folder), console)

    def _presets_help(self) -> str:
        if len(self.presets) == 1:
            return ""
        first, *others = (f"`{name}`" for name in self.presets)
        names = " or ".join([f"{first} (the default)", *others])
        return f"Begin with {names} to choose what the options below start from. "


def command_line(
    name: str,
    arguments: Sequence[str] | None,
    run: Callable[[Sequence[str], Console], None],
    report: Callable[[Path, Console], None],
) -> int:
    """Call `report` where the words are `report FOLDER`, else `run` with them; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)

    def command(console: Console) -> None:
        one_device_per_core()
        keep_compiled_programs()
        if words[:1] == ["report"]:
            folder = parsed(Report, words[1:], prog=f"{name} report").folder
            started_devices()
            report(folder, console)
        else:
            run(words, console)

    return told(command)


def tell_unused(unused: Iterable[tuple[str, str]], words: Sequence[str], console: Console) -> None:
    """Say of each option that was typed and has no effect beside the others why that is."""
    typed = option_counts(words)
    for name, reason in unused:
        if name in typed:
            console.print(Text(f"{name}: without effect, as {reason}."), soft_wrap=True)


def told(command: Callable[[Console], int | None], width: int = TABLE_WIDTH) -> int:
    """The exit status of `command(console)`, 0 where it returns None; see `ended` too.

    What the user can mend ends as a message and not as a traceback, as do a study that was stopped and
    processes that lost one another. `width`: that of the console where the output goes to a file.
    """
    return ended(lambda: _told(command, width))


def _told(command: Callable[[Console], int | None], width: int) -> int:
    console = Terminal(width)
    try:
        return command(console) or 0
    except StudyError as error:
        return _failed(str(error), console)
    except jax.errors.JaxRuntimeError as error:
        if not jax.distributed.is_initialized():
            raise
        return _failed(
            f"another process was lost; the same command in all of them resumes. ({error})", console
        )
    except Stopped as stopped:
        console.print("Stopped. The same command resumes.")
        return stopped.status


def _failed(message: str, console: Console) -> int:
    console.quiet = False
    several = jax.distributed.is_initialized()  # else nobody asks JAX, which may not start
    where = f"process {jax.process_index()}: " if several and not is_first() else ""
    console.print(Text.assemble((f"error: {where}", "bold red"), message), soft_wrap=True)
    return 2
