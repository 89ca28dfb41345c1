"""The command line of the study of best schedules."""

from collections.abc import Sequence

from experiments.optimal_schedule.config import Config
from experiments.optimal_schedule.results import show
from experiments.optimal_schedule.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="optimal_schedule",
    description="Find the best schedule of linear regression by gradients, and how far families fall short.",
    presets={"linear_regression": Config()},
    run=run,
    redraw=redraw,
    show=show,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
