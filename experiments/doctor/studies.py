"""Whether the studies can be started: each is imported, with all that it needs."""

import importlib
from collections.abc import Iterator
from pathlib import Path

from experiments.doctor.findings import Finding, described
from experiments.doctor.requirements import remedy
from experiments.studies import QUESTIONS


def look(folder: Path) -> Iterator[Finding]:
    """How many can be started, then one finding for each reason why others cannot."""
    obstacles: dict[tuple[str, str], list[str]] = {}
    for name in QUESTIONS:
        try:
            importlib.import_module(f"experiments.{name}")
        except Exception as error:  # whatever a broken package raises
            obstacles.setdefault((described(error), remedy(error)), []).append(name)
    stopped = sum(map(len, obstacles.values()))
    yield Finding("studies", f"{len(QUESTIONS) - stopped} of {len(QUESTIONS)} can be started")
    for (reason, advice), names in obstacles.items():
        yield Finding(", ".join(names), reason, advice, stops=True)
