"""The command line of a study: run it with its options, or draw the report of a finished one again."""

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import jax
import tyro
from rich.console import Console
from rich.text import Text

from experiments.study.options.config import StudyConfig
from experiments.study.options.errors import StudyError, option_counts
from experiments.study.options.groups import option_groups
from experiments.study.options.pairs import Folder, parsed
from experiments.study.running.devices import (
    keep_compiled_programs,
    one_device_per_core,
    started_devices,
)
from experiments.study.running.entry import ended
from experiments.study.running.execution import Execution
from experiments.study.running.processes import Cluster, is_first
from experiments.study.running.setup import checked
from experiments.study.running.stopping import Stopped
from experiments.study.showing.table import Table
from experiments.study.showing.terminal import Terminal, print_lines, print_table
from experiments.study.storage.folder import StudyFolder, write_atomically

if TYPE_CHECKING:
    from experiments.study.study import Study

TABLE_WIDTH = 150  # where the output goes to a file
FOLDER_HELP = (
    "Results go to a folder: config.json, journal.sqlite, winners.json, report.html and figures/. The same"
    " command again resumes there and runs only what is missing. `report FOLDER` in place of all options"
    " draws the report of a finished study again."
)
FOLDER_OPTION = "Where the study lives; a folder in runs/ with the study's name when not given."
FILL_HELP = (
    "Let vectorize be the largest power of two that the devices' memory has room for; a study that is resumed"
    " keeps what it began with."
)


@dataclass(frozen=True)
class Report:
    """Draw the report of a finished study again, without running anything."""

    folder: Annotated[Folder, tyro.conf.Positional]
    """The study's folder, such as runs/shape_search_digits."""
    gallery: bool = False
    """Copy the figures that the study's README shows beside it."""


class Question(NamedTuple):
    """What a finished study can be asked, on the command line `STUDY NAME FOLDER [options]`.

    Attributes:
      options: a dataclass of what may be typed; its field `folder` is that of the study.
      answer: (results, options) → what is printed, in order.
    """

    options: type
    answer: Callable[[Any, Any], Sequence[Table | str]]


class Typed(NamedTuple):
    """What was typed.

    Attributes:
      preset: what the options start from.
      kind: the class of the config.
      values: those of all its fields, sound or not.
      folder: where the study lives, if that is said.
      flags: the further options that the study has.
    """

    preset: str
    kind: type[StudyConfig]
    values: Mapping[str, Any]
    folder: Path | None
    execution: Execution
    cluster: Cluster
    flags: Mapping[str, bool]


def study_command(study: "Study", arguments: Sequence[str] | None) -> int:
    """Run the study, or report one; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)

    def command(console: Console) -> None:
        one_device_per_core()
        keep_compiled_programs()
        if words[:1] == ["report"]:
            options = parsed(Report, words[1:], prog=f"steepest {study.name} report")
            started_devices()
            study.show(study.report(options.folder), options.folder, console)
            if options.gallery:
                _copy_figures(study, StudyFolder(options.folder), console)
        elif words and words[0] in study.questions:
            _answer(study, *words, console=console)
        else:
            _run(study, words, console)

    return told(command)


def typed(study: "Study", words: Sequence[str]) -> Typed:
    """What the words of a command line say; what is typed wins over preset and `--quick`."""
    preset = words[0] if words and words[0] in study.presets else next(iter(study.presets))
    config = study.presets[preset]
    if study.quick and "--quick" in words:
        config = dataclasses.replace(config, **study.quick)
    groups, flags = option_groups(config), _flags(study)
    options = parsed(
        _options_class(groups, study.execution(preset), flags),
        words[words[:1] == [preset] :],
        prog=f"steepest {study.name}",
        description=f"{study.question}\n\n{_presets_help(study)}{FOLDER_HELP}{_questions_help(study)}",
    )
    values = {name: value for group in groups for name, value in vars(getattr(options, group)).items()}
    chosen = {name: getattr(options, name) for name in flags}
    return Typed(preset, type(config), values, options.folder, options.execution, options.cluster, chosen)


def tell_unused(unused: Iterable[tuple[str, str]], words: Sequence[str], console: Console) -> None:
    """Say of each option that was typed and has no effect beside the others why that is."""
    counts = option_counts(words)
    for name, reason in unused:
        if name in counts:
            console.print(Text(f"{name}: without effect, as {reason}."), soft_wrap=True)


def told(command: Callable[[Console], int | None], width: int = TABLE_WIDTH) -> int:
    """The exit status of `command(console)`, 0 where it returns None; see `ended` too.

    What the user can mend ends as a message and not as a traceback, as do a study that was stopped and
    processes that lost one another. `width`: that of the console where the output goes to a file.
    """
    return ended(lambda: _told(command, width))


def _run(study: "Study", words: Sequence[str], console: Console) -> None:
    line = typed(study, words)
    problems = line.execution.problems()
    if line.flags.get("fill_memory") and "vectorize" in option_counts(words):
        problems.append("fill_memory: it chooses vectorize, which is typed too.")
    config = checked(line.kind, line.values, line.cluster, line.execution.devices, problems)
    line.cluster.join(console)
    tell_unused(config.unused(), words, console)
    folder = line.folder or Path("runs", _folder_name(study, line))
    if line.flags.get("fill_memory"):
        config = study.fill(config, folder, line.execution)
    results = study.run(config, folder, console=console, **vars(line.execution))
    study.show(results, folder, console)


def _answer(study: "Study", name: str, *words: str, console: Console) -> None:
    question = study.questions[name]
    options = parsed(question.options, words, prog=f"steepest {study.name} {name}")
    started_devices()
    for content in question.answer(study.results(options.folder), options):
        if isinstance(content, Table):
            print_table(console, content.title, content)
        else:
            print_lines(console, [content])


def _copy_figures(study: "Study", folder: StudyFolder, console: Console) -> None:
    """Copy the figures that the README beside the study's package shows to their place there."""
    package = Path(importlib.import_module(f"experiments.{study.name}").__file__).parent
    shown = (package / "README.md").read_text()
    for figure in sorted(folder.figures.glob("*.png")):
        if f"({figure.name})" in shown:
            write_atomically(package / figure.name, figure.read_bytes())
            console.print(Text(str(package / figure.name)), soft_wrap=True)


def _folder_name(study: "Study", line: Typed) -> str:
    preset = [line.preset] if len(study.presets) > 1 else []
    return "_".join([study.name, *preset, *(["quick"] if line.flags.get("quick") else [])])


def _flags(study: "Study") -> dict[str, str]:
    """The further options of a study, each with its explanation."""
    flags = {
        "quick": (study.quick, "Change the defaults to a study that looks at little."),
        "fill_memory": (study.fill, FILL_HELP),
    }
    return {name: text for name, (offered, text) in flags.items() if offered}


def _options_class(groups: Mapping[str, Any], execution: Execution, flags: Mapping[str, str]) -> type:
    """The class of all options: where and how the study is made, then its config by group."""
    nested = {"execution": execution, "cluster": Cluster(), **groups}
    return dataclasses.make_dataclass(
        "Options",
        [
            ("folder", Annotated[Folder | None, tyro.conf.arg(help=FOLDER_OPTION)], field(default=None)),
            *(
                (name, Annotated[bool, tyro.conf.arg(help=text)], field(default=False))
                for name, text in flags.items()
            ),
            *(
                (name, _group_of_options(type(options)), field(default=options))
                for name, options in nested.items()
            ),
        ],
        frozen=True,
    )


def _group_of_options(kind: type) -> Any:
    """A class of options as tyro takes it, with its explanation, which tyro would look for in our source."""
    return tyro.conf.OmitArgPrefixes[Annotated[kind, tyro.conf.arg(help=inspect.getdoc(kind))]]


def _presets_help(study: "Study") -> str:
    if len(study.presets) == 1:
        return ""
    first, *others = (f"`{name}`" for name in study.presets)
    names = " or ".join([f"{first} (the default)", *others])
    return f"Begin with {names} to choose what the options below start from. "


def _questions_help(study: "Study") -> str:
    lines = (
        f" `{name} FOLDER` asks a finished one: {inspect.getdoc(question.options)}"
        for name, question in study.questions.items()
    )
    return "".join(lines)


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
    prefix = f"process {jax.process_index()}: " if several and not is_first() else ""
    console.print(Text.assemble((f"error: {prefix}", "bold red"), message), soft_wrap=True)
    return 2
