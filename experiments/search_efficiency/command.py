"""The command line of the study of search efficiency."""

from collections.abc import Sequence

from experiments.search_efficiency.config import PRESETS
from experiments.search_efficiency.findings import show
from experiments.search_efficiency.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="search_efficiency",
    description="Count the runs that each search strategy needs to find a near-optimal shape.",
    presets=PRESETS,
    run=run,
    redraw=redraw,
    show=show,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
