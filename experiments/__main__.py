"""The studies by name: `steepest STUDY …`, or `python -m experiments STUDY …`; without a name, the list."""

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from experiments.studies import COMMANDS, JOBS, QUESTIONS, load
from experiments.study.options.errors import StudyError, choice_problem
from experiments.study.running.entry import ended, jax_problem

REPORT = "report"
OWN = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study named first with the arguments behind it, or report a folder; returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if (other := _another()) is not None:
        print(f"steepest: runs {OWN}, not {other}, which `python -m` would take here.", file=sys.stderr)
    return ended(lambda: _run(words))


def _run(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_usage())
        return 0
    name, *options = words
    if name in JOBS:
        return importlib.import_module("experiments.jobs").main(words)
    problem = choice_problem("study", name, [*QUESTIONS, *COMMANDS, *JOBS, REPORT])
    problem = problem or (name != "doctor" and jax_problem())
    if not problem:
        try:
            if name == REPORT:
                name, options = _reported(words), list(words)
            command = load(name) if name in QUESTIONS else importlib.import_module(f"experiments.{name}")
            return command.main(options)
        except StudyError as error:
            problem = error
        except ModuleNotFoundError as error:
            problem = f"{error}: `steepest doctor` tells what is missing."
    print(f"error: {problem}")
    return 2


def _reported(words: Sequence[str]) -> str:
    """The study that `report FOLDER …` is about."""
    if len(words) < 2 or words[1].startswith("-"):
        raise StudyError("report: needs the folder of a finished study.")
    storage = importlib.import_module("experiments.study.storage.folder")
    folder = storage.StudyFolder(Path(words[1]))
    name = storage.read_config(folder).get(storage.STUDY)
    if name not in (*QUESTIONS, next(iter(JOBS))):
        raise StudyError(f"{folder.config} names no study of this version, but {name!r}.")
    return name


def _another() -> Path | None:
    """A package of this one's name that Python finds from the current folder, as many a checkout has one."""
    spec = PathFinder.find_spec(OWN.name, ["", *sys.path])
    if spec is None:
        return None
    place = Path(next(iter(spec.submodule_search_locations or [spec.origin]))).resolve()
    return None if place == OWN else place


def _usage() -> str:
    return "\n".join(
        [
            "usage: steepest STUDY [options]      (steepest STUDY --help explains them)",
            "       steepest report FOLDER        draws the report of a finished study again",
            "",
            *(f"  {name:<20} {question}" for name, question in QUESTIONS.items()),
            "",
            *(f"  {name:<20} {text}" for name, text in COMMANDS.items()),
            "",
            *(f"  {name:<20} {text}" for name, text in JOBS.items()),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
