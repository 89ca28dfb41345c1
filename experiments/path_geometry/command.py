"""The command line of the study of path geometry."""

from collections.abc import Sequence

from experiments.path_geometry.config import Config
from experiments.path_geometry.investigation import redraw, run
from experiments.path_geometry.results import show
from experiments.study.command import Study

STUDY = Study(
    name="path_geometry",
    description="Measure how gradients lie to the end of training, and try the schedule this prescribes.",
    presets={"digits": Config()},
    run=run,
    redraw=redraw,
    show=show,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
