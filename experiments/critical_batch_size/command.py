"""The command line of the study of critical batch sizes."""

from collections.abc import Sequence

from experiments.critical_batch_size.config import Config
from experiments.critical_batch_size.findings import show
from experiments.critical_batch_size.study import redraw, run
from experiments.study.command import Study

STUDY = Study(
    name="critical_batch_size",
    description="Measure how large a batch pays with each optimizer, and whether noise scales tell it.",
    presets={"digits": Config()},
    run=run,
    redraw=redraw,
    show=show,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return STUDY.main(arguments)
