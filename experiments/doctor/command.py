"""The command line of the doctor: section after section, then the verdict."""

import argparse
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path

from experiments.doctor.findings import Finding, probed

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
    folder = _folder(arguments)
    try:
        from experiments.doctor import printing
    except ImportError as error:  # what prints the tables is missing itself
        print(f"1 problem:\n  {error}; pip install steepest")
        return 1
    console = printing.terminal()
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
    parser = argparse.ArgumentParser(prog="python -m experiments.doctor", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where studies are to be written")
    return parser.parse_args(arguments).folder
