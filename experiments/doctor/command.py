"""The command line of the doctor: section after section, then the verdict."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from experiments.doctor.findings import Finding, probed
from experiments.study.options.errors import repetition_problems
from experiments.study.running.entry import ended, jax_problem

WIDTH = 110  # where the output goes to a file
SECTIONS = {
    "Packages": "packages",
    "Devices": "devices",
    "Studies": "studies",
    "Data": "data",
    "Room": "room",
    "Self-check": "self_check",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings; returns the exit status, 1 where something would stop studies, else 0."""
    return ended(lambda: _look(_folder(arguments)))


def _look(folder: Path) -> int:
    problem = jax_problem()
    if problem:
        print(f"1 problem:\n  {problem}")
        return 1
    try:
        from experiments.doctor import printing
        from experiments.study.showing.terminal import Terminal
    except ImportError as error:  # what prints the tables is missing itself
        print(f"1 problem:\n  {error}; pip install steepest")
        return 1
    console = Terminal(WIDTH)
    problems = []
    for title, module in SECTIONS.items():
        findings = list(section(title, module, folder))
        printing.show_section(console, title, findings)
        problems += [finding for finding in findings if finding.stops]
    printing.show_verdict(console, problems)
    return 1 if problems else 0


def section(title: str, module: str, folder: Path) -> Iterator[Finding]:
    """What a section finds; one that cannot be imported is a finding."""
    return probed(title, lambda: import_module(f"experiments.doctor.{module}").look(folder))


def _folder(arguments: Sequence[str] | None) -> Path:
    # not tyro, as elsewhere: the doctor has to start where that is missing
    parser = argparse.ArgumentParser(prog="steepest doctor", description=__doc__)
    parser.add_argument("--folder", type=_path, default=Path("runs"), help="where studies are to be written")
    words = sys.argv[1:] if arguments is None else list(arguments)
    for problem in repetition_problems(words):
        parser.error(problem)
    return parser.parse_args(words).folder


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("a folder has a name")
    return Path(text)
